"""Probes: labelled pairs that each test one ability of a classifier; none was used for training."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from semserve_export.data.pairs import LabelledPair, PairFiles, read_pairs
from semserve_export.data.table import read_table

OWN_PROBES = Path(__file__).parent / "probes.tsv"
"""Our own pairs; the column `kind` names the ability (synonym, negation, number, …)."""
KIND = "kind"


@dataclass(frozen=True, slots=True)
class Probes:
    """Labelled pairs, and the kind of each; empty if the file has no kinds."""

    files: PairFiles[LabelledPair]
    kinds: Sequence[str]

    @property
    def every_kind(self) -> list[str]:
        """Return the kinds in the order of the file, each once."""
        return list(dict.fromkeys(kind for kind in self.kinds if kind))


def read_probes(paths: Sequence[Path], labels: Sequence[str]) -> Probes:
    """Read labelled pairs, with their kinds if every file has the column `kind`.

    Raises:
        ExportError: as `read_pairs`.
    """
    files = read_pairs(paths, labels)
    tables = [read_table(path, (KIND,)) for path in paths]
    known = all(KIND in table for table in tables) and not files.undecided
    kinds = [kind for table in tables for kind in table[KIND]] if known else [""] * len(files.pairs)
    return Probes(files, kinds)
