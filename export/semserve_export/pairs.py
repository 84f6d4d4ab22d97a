"""Labelled pairs for training and measuring, read from TSV, CSV, JSON Lines or Parquet."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from semserve_export.digest import sha256_of
from semserve_export.errors import ExportError
from semserve_export.table import read_table, require_columns

COLUMNS = ("premise", "hypothesis", "label")


@dataclass(frozen=True, slots=True)
class LabelledPair:
    """A premise, a hypothesis, and the label's place among the classifier's labels."""

    premise: str
    hypothesis: str
    label: int


@dataclass(frozen=True, slots=True)
class PairFiles:
    """Pairs, and the digests of the files that they were read from, by file name."""

    pairs: Sequence[LabelledPair]
    sha256: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What a classifier learns from, and what it is measured on."""

    training: PairFiles
    validation: PairFiles


def read_pairs(paths: Iterable[Path], labels: Sequence[str]) -> PairFiles:
    """Read files with the columns premise, hypothesis and label; what other columns hold is left.

    `read_table` names the formats.

    Raises:
        ExportError: a file is missing, of another kind or damaged, lacks a column, or holds an
            empty text or an unknown label.
    """
    index_of = {label: index for index, label in enumerate(labels)}
    pairs: list[LabelledPair] = []
    sha256: dict[str, str] = {}
    for path in paths:
        pairs += _read(path, index_of)
        sha256[path.name] = sha256_of(path)
    return PairFiles(pairs, sha256)


def _read(path: Path, index_of: Mapping[str, int]) -> Iterable[LabelledPair]:
    table = read_table(path, COLUMNS)
    require_columns(path, table, COLUMNS)
    rows = zip(*(table[column] for column in COLUMNS), strict=True)
    for place, (premise, hypothesis, label) in enumerate(rows, 1):
        if not premise or not hypothesis:
            raise ExportError(f"{path}, pair {place}: the premise or the hypothesis is empty")
        if label not in index_of:
            known = ", ".join(index_of)
            raise ExportError(f"{path}, pair {place}: label {label!r} is none of {known}")
        yield LabelledPair(str(premise), str(hypothesis), index_of[label])
