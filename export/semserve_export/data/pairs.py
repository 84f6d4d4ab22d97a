"""Reads labelled pairs and texts for training, from TSV, CSV, JSON Lines or Parquet."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from semserve_export.data.table import LABEL_COLUMNS, read_table, require_columns, texts_of
from semserve_export.errors import ExportError
from semserve_export.files.digest import sha256_of

SIDES = ("premise", "hypothesis")
TEXT_COLUMNS = (SIDES, ("sentence1", "sentence2"), ("text",), ("sentence",))
"""The names of the text columns; the first ones that a file has are used. One column means single
texts."""
COLUMNS = (*(name for names in TEXT_COLUMNS for name in names), *LABEL_COLUMNS)
UNDECIDED = ("-", "-1")
"""Values of data sets for rows on whose label people did not agree; such rows are dropped."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A premise and a hypothesis, without a label.

    The hypothesis is empty for a single text, and never empty for a pair.
    """

    premise: str
    hypothesis: str = ""

    @property
    def single(self) -> bool:
        """Whether it is a single text."""
        return not self.hypothesis


@dataclass(frozen=True, slots=True)
class LabelledPair(Pair):
    """A pair, and the index of its label among the classifier's labels."""

    label: int = 0


AnyPair = TypeVar("AnyPair", bound=Pair)


@dataclass(frozen=True, slots=True)
class PairFiles(Generic[AnyPair]):
    """Pairs, and the digests of the files that they were read from, by file name."""

    pairs: Sequence[AnyPair]
    sha256: Mapping[str, str]
    undecided: Mapping[str, int] = field(default_factory=dict)
    """The number of rows without a label that were dropped, for each file that has any."""

    @property
    def single(self) -> bool:
        """Whether these are single texts instead of pairs."""
        return bool(self.pairs) and self.pairs[0].single


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The training data and the held-out data of a classifier."""

    training: PairFiles[LabelledPair]
    validation: PairFiles[LabelledPair]
    """Held-out pairs that choose the epoch (with `--patience`) and the temperature."""
    unlabelled: PairFiles[Pair] = field(default_factory=lambda: PairFiles((), {}))
    """Pairs that only the teachers label."""
    test: PairFiles[LabelledPair] | None = None
    """Held-out pairs that choose nothing: the result is measured on them once, at the end."""

    @property
    def single(self) -> bool:
        """Whether the classifier takes single texts instead of pairs."""
        return self.training.single


def read_pairs(paths: Sequence[Path], labels: Sequence[str]) -> PairFiles[LabelledPair]:
    """Read files of pairs, or of single texts, with their labels; other columns are ignored.

    The texts are in the columns premise and hypothesis, or sentence1 and sentence2; single texts
    are in the column text or sentence. The label is in the column label or gold_label: its name, or
    its number counted from 0. A row with the label -1 or "-" is dropped and counted. `read_table`
    names the formats.

    Args:
        paths: the files.
        labels: the names of the labels in the order of their numbers.

    Raises:
        ExportError: a file is missing, of another kind or damaged, lacks a column, or contains an
            empty text or an unknown label; or some files contain pairs and others single texts.
    """
    places = _places(labels)
    pairs: list[LabelledPair] = []
    sha256: dict[str, str] = {}
    undecided: dict[str, int] = {}
    for path in paths:
        found: list[LabelledPair] = []
        dropped = 0
        for place, pair, value in _read(path, labelled=True):
            label = _name_of(value)
            if label in places:
                found.append(LabelledPair(pair.premise, pair.hypothesis, places[label]))
            elif label in UNDECIDED:
                dropped += 1
            else:
                known = ", ".join(labels)
                raise ExportError(
                    f"{path}, pair {place}: label {value!r} is none of {known}, nor the number of"
                    f" one (0 to {len(labels) - 1})"
                )
        _require_alike(path, pairs, found)
        pairs += found
        sha256[path.name] = sha256_of(path)
        if dropped:
            undecided[path.name] = dropped
    return PairFiles(pairs, sha256, undecided)


def read_unlabelled(paths: Iterable[Path]) -> PairFiles[Pair]:
    """Read the texts of files as `read_pairs` does; labels are ignored.

    Raises:
        ExportError: as `read_pairs`, except for labels.
    """
    pairs: list[Pair] = []
    sha256: dict[str, str] = {}
    for path in paths:
        found = [pair for _, pair, _ in _read(path, labelled=False)]
        _require_alike(path, pairs, found)
        pairs += found
        sha256[path.name] = sha256_of(path)
    return PairFiles(pairs, sha256)


def without_premises_of(
    files: PairFiles[LabelledPair], held_out: PairFiles[LabelledPair]
) -> PairFiles[LabelledPair]:
    """Drop pairs in which either text is a premise of the held-out pairs."""
    premises = {words_of(pair.premise) for pair in held_out.pairs}
    kept = [
        pair
        for pair in files.pairs
        if premises.isdisjoint(words_of(text) for text in (pair.premise, pair.hypothesis) if text)
    ]
    return PairFiles(kept, files.sha256, files.undecided)


def words_of(text: str) -> str:
    """Return a key of a text that ignores case, punctuation and blanks."""
    return " ".join(re.findall(r"\w+", text.lower()))


def _read(path: Path, *, labelled: bool) -> Iterator[tuple[int, Pair, Any]]:
    """Yield the number of each pair, counted from 1, the pair, and its label if it has one."""
    table = read_table(path, COLUMNS)
    sides = next((names for names in TEXT_COLUMNS if set(names) <= set(table)), SIDES)
    label = [name for name in LABEL_COLUMNS if name in table]
    if labelled and len(label) > 1:
        raise ExportError(f"{path}: the header has both {' and '.join(label)}; leave one of them")
    require_columns(path, table, (*sides, *(label or LABEL_COLUMNS[:1])) if labelled else sides)
    values = table[label[0]] if labelled else [None] * len(table[sides[0]])
    rows = zip(texts_of(path, table, sides), values, strict=True)
    for place, (texts, value) in enumerate(rows, 1):
        yield place, Pair(*texts), value


def _places(labels: Sequence[str]) -> dict[str, int]:
    """Return the index of each label, by its name and by its number; names have precedence."""
    names = {label: place for place, label in enumerate(labels)}
    return {str(place): place for place in range(len(labels))} | names


def _name_of(value: Any) -> str:
    """Return a label as it is written: the number 1, which a table may hold as 1.0, as "1"."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _require_alike(path: Path, before: Sequence[Pair], found: Sequence[Pair]) -> None:
    if not found:
        raise ExportError(f"{path}: there are no pairs")
    if before and before[0].single != found[0].single:
        kinds = ("single texts", "pairs") if found[0].single else ("pairs", "single texts")
        raise ExportError(f"{path}: holds {kinds[0]}, and the files before it {kinds[1]}")
