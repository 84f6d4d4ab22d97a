"""Reads the texts or pairs of a file, one record at a time: text, JSON Lines, CSV or Parquet."""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from semserve.bulk.errors import FileError, MissingPackage

SUFFIXES = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet")
"""Suffixes of files with columns. Every other file has one text in each line."""
TEXT_NAMES = (("text",),)
"""Names of the column of texts, if the caller names none."""
PAIR_NAMES = (
    ("premise", "hypothesis"), ("left", "right"), ("text", "text_pair"),
    ("sentence1", "sentence2"), ("query", "document"),
)  # fmt: skip
"""Names of the columns of pairs, if the caller names none."""
PARQUET_ROWS = 1024
"""Rows of a Parquet file in memory at a time."""
MAX_FIELD_CHARACTERS = 1 << 24
"""Most characters of one field of a CSV file."""


class Record(NamedTuple):
    """One or two texts, and where they stand in the file.

    Attributes:
        place: number of the line, or of the row of a CSV or Parquet file, from 1.
        texts: the texts.
    """

    place: int
    texts: tuple[str, ...]


class Columns(NamedTuple):
    """Which columns of a file to read.

    Attributes:
        names: names of the columns; empty to try the usual names.
        pairs: whether a record is a pair, and may be a single text.
    """

    names: tuple[str, ...] = ()
    pairs: bool = False

    def choose(self, present: Sequence[str], where: str) -> tuple[str, ...]:
        """Choose the columns of a file.

        Args:
            present: the columns of the file.
            where: name of the file, for errors.

        Raises:
            FileError: the file lacks the columns.
        """
        usual = (*PAIR_NAMES, *TEXT_NAMES) if self.pairs else TEXT_NAMES
        for names in (self.names,) if self.names else usual:
            if {*names} <= {*present}:
                return names
        if not self.names and len(present) == 1:
            return (present[0],)
        wanted = " and ".join(self.names or usual[0])
        raise FileError(
            f"{where}: no column {wanted}; it has {', '.join(present)}: choose with --column"
        )


DEFAULT_COLUMNS = Columns()


def read_records(file: Path, columns: Columns = DEFAULT_COLUMNS) -> Iterator[Record]:
    """Read the records of a file by its suffix. Records without any text are skipped.

    Raises:
        FileError: the file lacks the columns, or a record is not valid.
        MissingPackage: the file is Parquet, and pyarrow is not installed.
        OSError: the file cannot be read.
    """
    suffix = file.suffix.lower()
    if suffix == ".parquet":
        found = _parquet(file, columns)
    else:
        with file.open("rb") as lines:
            yield from read_lines(lines, str(file), suffix, columns)
        return
    yield from (record for record in found if any(text.strip() for text in record.texts))


def expected_rows(file: Path) -> int:
    """Return about how many records a file has: its rows or its lines, without reading them.

    Raises:
        OSError: the file cannot be read.
    """
    if file.suffix.lower() == ".parquet":
        try:
            from pyarrow import ArrowException, parquet  # noqa: PLC0415 - of an extra

            return int(parquet.ParquetFile(file).metadata.num_rows)
        except (ImportError, ArrowException):  # reading the records reports it
            return 0
    with file.open("rb") as content:
        return sum(block.count(b"\n") for block in iter(partial(content.read, 1 << 20), b""))


def read_lines(
    lines: Iterable[bytes], name: str, suffix: str = "", columns: Columns = DEFAULT_COLUMNS
) -> Iterator[Record]:
    """Read the records of lines, in the format of the suffix.

    Raises:
        FileError: a record is not valid.
    """
    decoded = _decoded(lines, name)
    if suffix in {".csv", ".tsv"}:
        found = _csv(decoded, name, "\t" if suffix == ".tsv" else ",", columns)
    elif suffix in {".jsonl", ".ndjson"}:
        found = _json_lines(decoded, name, columns)
    else:
        found = _text_lines(decoded, name, columns)
    yield from (record for record in found if any(text.strip() for text in record.texts))


def _decoded(lines: Iterable[bytes], name: str) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        try:
            # Some editors start UTF-8 files with a byte order mark.
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise FileError(f"{name}: line {number} is not UTF-8") from None


def _text_lines(lines: Iterable[str], name: str, columns: Columns) -> Iterator[Record]:
    if columns.names:
        raise FileError(f"{name}: --column is for {', '.join(SUFFIXES)}; this file has no columns")
    for number, line in enumerate(lines, start=1):
        text = line.rstrip("\r\n")
        texts = tuple(text.split("\t")) if columns.pairs else (text,)
        yield _checked(Record(number, texts), name)


def _json_lines(lines: Iterable[str], name: str, columns: Columns) -> Iterator[Record]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            raise FileError(f"{name}: line {number} is not JSON: {error}") from None
        yield _checked(Record(number, _json_texts(value, f"{name}: line {number}", columns)), name)


def _json_texts(value: Any, where: str, columns: Columns) -> tuple[str, ...]:
    """Return the texts of a string, of a list of strings, or of an object's fields."""
    if isinstance(value, Mapping):
        value = [value[name] for name in columns.choose([*value], where)]
    elif isinstance(value, str):
        value = [value]
    if isinstance(value, list) and all(isinstance(text, str) for text in value):
        return tuple(value)
    raise FileError(f"{where} is neither a string nor an object with strings")


def _csv(lines: Iterable[str], name: str, delimiter: str, columns: Columns) -> Iterator[Record]:
    csv.field_size_limit(MAX_FIELD_CHARACTERS)
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        header = next(rows, [])
        places = [header.index(column) for column in columns.choose(header, name)]
        for number, row in enumerate(rows, start=1):
            if row and len(row) != len(header):
                raise FileError(f"{name}: row {number} has {len(row)} of {len(header)} columns")
            if row:
                yield _checked(Record(number, tuple(row[place] for place in places)), name)
    except csv.Error as error:
        raise FileError(f"{name}: line {rows.line_num} is not CSV: {error}") from None


def _parquet(file: Path, columns: Columns) -> Iterator[Record]:
    try:
        import pyarrow as pa  # noqa: PLC0415 - large and optional
        from pyarrow import parquet  # noqa: PLC0415 - likewise
    except ImportError:
        raise MissingPackage("pyarrow", "bulk") from None
    try:
        with closing(parquet.ParquetFile(file)) as table:
            names = columns.choose(table.schema_arrow.names, str(file))
            number = 0
            for batch in table.iter_batches(PARQUET_ROWS, columns=[*names]):
                for row in zip(*(batch.column(name).to_pylist() for name in names), strict=True):
                    number += 1
                    if any(not isinstance(text, str) for text in row):
                        raise FileError(f"{file}: row {number} has a value that is no string")
                    yield Record(number, row)
    except pa.ArrowException as error:
        raise FileError(f"{file}: {error}") from None


def _checked(record: Record, name: str) -> Record:
    if len(record.texts) > len(PAIR_NAMES[0]):
        raise FileError(
            f"{name}: line {record.place}: {len(record.texts)} texts where a pair has two"
        )
    return record
