"""Labelled pairs for training and measuring, read from tab-separated files."""

import csv
import gzip
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from semserve_export.errors import ExportError


@dataclass(frozen=True, slots=True)
class LabelledPair:
    """A premise, a hypothesis, and the label's place among the classifier's labels."""

    premise: str
    hypothesis: str
    label: int


def read_pairs(paths: Iterable[Path], labels: Sequence[str]) -> list[LabelledPair]:
    """Read UTF-8 files with a header line and columns premise, hypothesis, label; .gz or plain.

    Raises:
        ExportError: a file is missing, lacks a column or holds an unknown label.
    """
    return [pair for path in paths for pair in _read(path, {x: i for i, x in enumerate(labels)})]


def _read(path: Path, index_of: dict[str, int]) -> Iterable[LabelledPair]:
    if not path.is_file():
        raise ExportError(f"{path}: no such file of labelled pairs")
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        if missing := {"premise", "hypothesis", "label"} - set(rows.fieldnames or ()):
            raise ExportError(f"{path}: the header lacks {', '.join(sorted(missing))}")
        for row in rows:
            if row["label"] not in index_of:
                raise ExportError(
                    f"{path}, line {rows.line_num}: label {row['label']!r} is none of"
                    f" {', '.join(index_of)}"
                )
            yield LabelledPair(row["premise"], row["hypothesis"], index_of[row["label"]])
