"""Labelled pairs for training and measuring, read from tab-separated files."""

import csv
import gzip
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from semserve_export.digest import sha256_of
from semserve_export.errors import ExportError


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
    """Read UTF-8 files with a header line and columns premise, hypothesis, label; .gz or plain.

    Raises:
        ExportError: a file is missing, lacks a column or holds an unknown label.
    """
    index_of = {label: index for index, label in enumerate(labels)}
    pairs: list[LabelledPair] = []
    sha256: dict[str, str] = {}
    for path in paths:
        pairs += _read(path, index_of)
        sha256[path.name] = sha256_of(path)
    return PairFiles(pairs, sha256)


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
