"""Probes: labelled pairs that each try one ability of a classifier, and that trained nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from semserve_export.data.pairs import LabelledPair, PairFiles, read_pairs
from semserve_export.data.table import read_table

OWN_PROBES = Path(__file__).parent / "probes.tsv"
"""Written by us: a column `kind` says what a pair tries (synonym, negation, number, …)."""
KIND = "kind"


@dataclass(frozen=True, slots=True)
class Probes:
    """Labelled pairs, and of each what it tries; empty where the file does not say."""

    files: PairFiles[LabelledPair]
    kinds: Sequence[str]

    @property
    def every_kind(self) -> list[str]:
        """Return the kinds in the order of the file, each once."""
        return list(dict.fromkeys(kind for kind in self.kinds if kind))


def read_probes(paths: Sequence[Path], labels: Sequence[str]) -> Probes:
    """Read labelled pairs, with their kinds where every file has the column `kind`.

    Raises:
        ExportError: as `read_pairs`.
    """
    files = read_pairs(paths, labels)
    tables = [read_table(path, (KIND,)) for path in paths]
    known = all(KIND in table for table in tables) and not files.undecided
    kinds = [kind for table in tables for kind in table[KIND]] if known else [""] * len(files.pairs)
    return Probes(files, kinds)
