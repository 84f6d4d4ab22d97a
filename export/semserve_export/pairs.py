"""Labelled pairs for training and measuring, read from TSV, CSV, JSON Lines or Parquet."""

import gzip
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from semserve_export.digest import sha256_of
from semserve_export.errors import ExportError

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

    The ending of the name tells the format: .tsv (no quoting: a quote is text), .csv (quoted as
    spreadsheets do), .jsonl or .parquet, the first three in UTF-8, as they are or packed as .gz.

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
    import pyarrow as pa  # noqa: PLC0415 - --help must not wait for it

    suffix = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if not path.is_file():
        raise ExportError(f"{path}: no such file of labelled pairs")
    if suffix not in READERS:
        raise ExportError(f"{path}: ends in none of {', '.join(READERS)}")
    content = path.read_bytes()
    try:
        packed = path.suffix == ".gz"
        table = READERS[suffix](io.BytesIO(gzip.decompress(content) if packed else content))
    except (pa.ArrowException, OSError, EOFError) as error:
        raise ExportError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from error
    if missing := sorted(set(COLUMNS) - set(table.column_names)):
        raise ExportError(f"{path}: the header lacks {', '.join(missing)}")
    rows = zip(*(table[column].to_pylist() for column in COLUMNS), strict=True)
    for place, (premise, hypothesis, label) in enumerate(rows, 1):
        if not premise or not hypothesis:
            raise ExportError(f"{path}, pair {place}: the premise or the hypothesis is empty")
        if label not in index_of:
            known = ", ".join(index_of)
            raise ExportError(f"{path}, pair {place}: label {label!r} is none of {known}")
        yield LabelledPair(str(premise), str(hypothesis), index_of[label])


def _read_separated(file: io.BytesIO, *, separator: str, quoted: bool) -> Any:
    from pyarrow import csv, string  # noqa: PLC0415 - as above

    return csv.read_csv(
        file,
        parse_options=csv.ParseOptions(
            delimiter=separator,
            quote_char='"' if quoted else False,
            newlines_in_values=quoted,
        ),
        # A column of numbers, or the text NA, is text here.
        convert_options=csv.ConvertOptions(
            column_types=dict.fromkeys(COLUMNS, string()), strings_can_be_null=False
        ),
    )


def _read_json_lines(file: io.BytesIO) -> Any:
    from pyarrow import json, schema, string  # noqa: PLC0415 - as above

    columns = schema([(column, string()) for column in COLUMNS])
    return json.read_json(file, parse_options=json.ParseOptions(explicit_schema=columns))


def _read_parquet(file: io.BytesIO) -> Any:
    from pyarrow import parquet  # noqa: PLC0415 - as above

    return parquet.read_table(file)


READERS: Mapping[str, Callable[[io.BytesIO], Any]] = {
    ".tsv": partial(_read_separated, separator="\t", quoted=False),
    ".csv": partial(_read_separated, separator=",", quoted=True),
    ".jsonl": _read_json_lines,
    ".parquet": _read_parquet,
}
