"""Reads pairs of texts with scores of similarity, and pairs without scores."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from semserve_export.data.table import read_table, require_columns, texts_of
from semserve_export.errors import ExportError
from semserve_export.files.digest import sha256_of

SIDES = ("sentence1", "sentence2")
INFERENCE_SIDES = ("premise", "hypothesis")
SCORE = "score"


@dataclass(frozen=True, slots=True)
class ScoredPairs:
    """Pairs, their scores, and the digests of the files they were read from, by file name."""

    pairs: Sequence[tuple[str, str]]
    scores: Sequence[float]  # one for each pair, or empty
    sha256: Mapping[str, str]

    def texts(self) -> list[str]:
        """Return the left and right text of each pair, one after the other."""
        return [text for pair in self.pairs for text in pair]


def read_scored_pairs(paths: Sequence[Path]) -> ScoredPairs:
    """Read files with columns sentence1, sentence2 and score; `table.py` names the formats.

    Raises:
        ExportError: a file is missing or damaged, lacks a column, or contains a score that is not a
            number; or all scores are equal.
    """
    return _read(paths, scored=True)


def read_unscored_pairs(paths: Sequence[Path]) -> ScoredPairs:
    """Read files with columns sentence1 and sentence2, or premise and hypothesis.

    Raises:
        ExportError: a file is missing or damaged, or lacks a column.
    """
    return _read(paths, scored=False)


def _read(paths: Sequence[Path], *, scored: bool) -> ScoredPairs:
    pairs: list[tuple[str, str]] = []
    scores: list[float] = []
    sha256: dict[str, str] = {}
    for path in paths:
        table = read_table(path, (*SIDES, *INFERENCE_SIDES))
        inference = not scored and set(INFERENCE_SIDES) <= set(table)
        sides = INFERENCE_SIDES if inference else SIDES
        require_columns(path, table, (*sides, SCORE) if scored else sides)
        found = [(left, right) for left, right in texts_of(path, table, sides)]
        if not found:
            raise ExportError(f"{path}: there are no pairs")
        pairs += found
        scores += _numbers(path, table[SCORE]) if scored else []
        sha256[path.name] = sha256_of(path)
    if scored and len(set(scores)) == 1:
        names = ", ".join(map(str, paths))
        raise ExportError(f"{names}: every pair has the score {scores[0]:g}; scores must differ")
    return ScoredPairs(pairs, scores, sha256)


def _numbers(path: Path, values: Iterable[object]) -> list[float]:
    numbers = []
    for place, value in enumerate(values, 1):
        try:
            number = float(str(value))
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise ExportError(f"{path}, pair {place}: {value!r} is no score")
        numbers.append(number)
    return numbers
