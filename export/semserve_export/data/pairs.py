"""Pairs for training and measuring, read from TSV, CSV, JSON Lines or Parquet."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from semserve_export.data.table import read_table, require_columns
from semserve_export.errors import ExportError
from semserve_export.files.digest import sha256_of

SIDES = ("premise", "hypothesis")
COLUMNS = (*SIDES, "label")


@dataclass(frozen=True, slots=True)
class Pair:
    """A premise, and a hypothesis that may follow from it; nobody has said whether it does."""

    premise: str
    hypothesis: str


@dataclass(frozen=True, slots=True)
class LabelledPair(Pair):
    """A pair, and the label's place among the classifier's labels."""

    label: int


AnyPair = TypeVar("AnyPair", bound=Pair)


@dataclass(frozen=True, slots=True)
class PairFiles(Generic[AnyPair]):
    """Pairs, and the digests of the files that they were read from, by file name."""

    pairs: Sequence[AnyPair]
    sha256: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What a classifier learns from, and what it is measured on."""

    training: PairFiles[LabelledPair]
    validation: PairFiles[LabelledPair]
    unlabelled: PairFiles[Pair] = field(default_factory=lambda: PairFiles((), {}))
    """To be learnt as teachers answer them."""


def read_pairs(paths: Sequence[Path], labels: Sequence[str]) -> PairFiles[LabelledPair]:
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
        for place, pair, (label,) in _read(path, "label"):
            if label not in index_of:
                known = ", ".join(index_of)
                raise ExportError(f"{path}, pair {place}: label {label!r} is none of {known}")
            pairs.append(LabelledPair(pair.premise, pair.hypothesis, index_of[label]))
        sha256[path.name] = sha256_of(path)
    if not pairs:
        raise ExportError(f"{', '.join(map(str, paths))}: there are no pairs")
    return PairFiles(pairs, sha256)


def read_unlabelled(paths: Iterable[Path]) -> PairFiles[Pair]:
    """Read files with the columns premise and hypothesis; a label that is there is left, too.

    Raises:
        ExportError: as `read_pairs`, labels apart.
    """
    pairs: list[Pair] = []
    sha256: dict[str, str] = {}
    for path in paths:
        pairs += (pair for _, pair, _ in _read(path))
        sha256[path.name] = sha256_of(path)
    return PairFiles(pairs, sha256)


def without_premises_of(
    files: PairFiles[LabelledPair], held_out: PairFiles[LabelledPair]
) -> PairFiles[LabelledPair]:
    """Leave out what has, on either side, a premise that will be measured on."""
    premises = {words_of(pair.premise) for pair in held_out.pairs}
    kept = [
        pair
        for pair in files.pairs
        if premises.isdisjoint((words_of(pair.premise), words_of(pair.hypothesis)))
    ]
    return PairFiles(kept, files.sha256)


def words_of(text: str) -> str:
    """Return what a text shares with one that differs in capitals, signs and blanks alone."""
    return " ".join(re.findall(r"\w+", text.lower()))


def _read(path: Path, *more: str) -> Iterator[tuple[int, Pair, tuple[Any, ...]]]:
    """Give the place of each pair, counted from 1, the pair, and what the further columns hold."""
    table = read_table(path, COLUMNS)
    require_columns(path, table, (*SIDES, *more))
    rows = zip(*(table[column] for column in (*SIDES, *more)), strict=True)
    for place, (premise, hypothesis, *rest) in enumerate(rows, 1):
        if not premise or not hypothesis:
            raise ExportError(f"{path}, pair {place}: the premise or the hypothesis is empty")
        yield place, Pair(str(premise), str(hypothesis)), tuple(rest)
