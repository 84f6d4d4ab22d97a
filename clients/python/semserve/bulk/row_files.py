"""The formats of output files: how rows are appended, and how a file is finished.

Until it is finished, a file only grows, so that cutting it at a number of bytes gives the file as
it was. Parquet has its directory at the end, so its rows are kept as an Arrow stream until then.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from semserve.bulk.errors import FileError, MissingPackage

NPY_HEADER_BYTES = 128
ROW_GROUP_ROWS = 16_384
"""Rows of a row group of a Parquet file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The rows of some records.

    Attributes:
        fields: the columns by name, each with a value for every row; None if a row failed.
        vectors: float32 (rows, width), which are the last columns; NaN if a row failed.
    """

    fields: Mapping[str, Sequence[Any]]
    vectors: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.vectors)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The columns of a file.

    Attributes:
        fields: the Python type of every field by name.
        vector: name of the vectors; in CSV they are columns of this name and a number.
        names: name of every number of a vector, if it has one, such as a label.
        width: numbers of a vector.
    """

    fields: Mapping[str, type]
    vector: str
    names: Sequence[str] = ()
    width: int


class RowFile(Protocol):
    """A format of output files."""

    def begin(self) -> bytes:
        """Return the first bytes of a file."""

    def append(self, rows: Rows) -> bytes:
        """Return the bytes of some rows."""

    def finish(self, partial: Path, whole: Path, rows: int) -> None:
        """Complete a file with so many rows, in its place or as another file `whole`."""


class NpyFile:
    """A matrix in numpy's format, which `numpy.load(..., mmap_mode="r")` reads without a copy."""

    def __init__(self, shape: Shape) -> None:
        self._width = shape.width

    def begin(self) -> bytes:
        """Return the header."""
        return self._header(0)

    def append(self, rows: Rows) -> bytes:
        """Return the bytes of some rows."""
        return rows.vectors.astype("<f4", copy=False).tobytes()

    def finish(self, partial: Path, whole: Path, rows: int) -> None:  # noqa: ARG002 - the file grew in place
        """Write the number of rows into the header."""
        with partial.open("r+b") as file:
            file.write(self._header(rows))

    def _header(self, rows: int) -> bytes:
        """Write format 1.0 of numpy.lib.format, in a constant number of bytes."""
        described = (
            f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {self._width}), }}"
        )
        room = NPY_HEADER_BYTES - 10
        return (
            b"\x93NUMPY\x01\x00"
            + room.to_bytes(2, "little")
            + (described.ljust(room - 1) + "\n").encode("ascii")
        )


class JsonLinesFile:
    """One JSON object in each line."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape

    def begin(self) -> bytes:
        """Return the header."""
        return b""

    def append(self, rows: Rows) -> bytes:
        """Return the bytes of some rows."""
        return "".join(
            f"{json.dumps(document, ensure_ascii=False)}\n"
            for document in documents(rows, self._shape)
        ).encode()

    def finish(self, partial: Path, whole: Path, rows: int) -> None:
        """Nothing is missing."""


class CsvFile:
    """A header, and one row for each record."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape

    def begin(self) -> bytes:
        """Return the header."""
        names = self._shape.names or range(self._shape.width)
        return csv_lines([[*self._shape.fields, *(f"{self._shape.vector}_{n}" for n in names)]])

    def append(self, rows: Rows) -> bytes:
        """Return the bytes of some rows."""
        columns = [rows.fields[name] for name in self._shape.fields]
        return csv_lines(
            [*fields, *_numbers(vector)]
            for fields, vector in zip(zip(*columns, strict=True), rows.vectors, strict=True)
        )

    def finish(self, partial: Path, whole: Path, rows: int) -> None:
        """Nothing is missing."""


class ParquetFile:
    """A Parquet file, whose rows are an Arrow stream until it is finished."""

    def __init__(self, shape: Shape) -> None:
        try:
            import pyarrow as pa  # noqa: PLC0415 - large and optional
            import pyarrow.parquet  # noqa: PLC0415 - likewise
        except ImportError:
            raise MissingPackage("pyarrow", "bulk") from None
        self._pa, self._parquet = pa, pyarrow.parquet
        self._shape = shape
        kinds = {str: pa.string(), int: pa.int32()}
        fields = [pa.field(name, kinds[kind]) for name, kind in shape.fields.items()]
        vector = (
            [pa.field(f"{shape.vector}_{name}", pa.float32()) for name in shape.names]
            or [pa.field(shape.vector, pa.list_(pa.float32(), shape.width))]
        )  # fmt: skip
        self._schema = pa.schema([*fields, *vector])

    def begin(self) -> bytes:
        """Return the header."""
        return bytes(self._schema.serialize())

    def append(self, rows: Rows) -> bytes:
        """Return the bytes of some rows."""
        pa, numbers = self._pa, rows.vectors
        arrays = [
            pa.array(rows.fields[name], self._schema.field(name).type)
            for name in self._shape.fields
        ]
        failed = np.isnan(numbers).any(axis=1)
        if self._shape.names:
            arrays += [pa.array(column, mask=failed) for column in numbers.T]
        else:
            flat = pa.array(np.ascontiguousarray(numbers).reshape(-1))
            arrays.append(
                pa.FixedSizeListArray.from_arrays(flat, self._shape.width, mask=pa.array(failed))
            )
        batch = pa.record_batch(arrays, schema=self._schema)
        return bytes(batch.serialize())

    def finish(self, partial: Path, whole: Path, rows: int) -> None:
        """Copy the rows to the Parquet file `whole`."""
        pa = self._pa
        with (
            pa.memory_map(str(partial)) as source,
            pa.ipc.open_stream(source) as stream,
            self._parquet.ParquetWriter(whole, self._schema) as writer,
        ):
            waiting, held = [], 0
            for batch in stream:
                waiting.append(batch)
                held += len(batch)
                if held >= ROW_GROUP_ROWS:
                    writer.write_table(pa.Table.from_batches(waiting))
                    waiting, held = [], 0
            if waiting or not rows:
                writer.write_table(pa.Table.from_batches(waiting, self._schema))


FORMATS: Mapping[str, type[NpyFile | JsonLinesFile | CsvFile | ParquetFile]] = {
    ".npy": NpyFile, ".jsonl": JsonLinesFile, ".csv": CsvFile, ".parquet": ParquetFile,
}  # fmt: skip
"""The formats by the suffix of the file."""


def row_file(path: Path, shape: Shape) -> RowFile:
    """Create the format of a file by its suffix.

    Raises:
        FileError: no format has this suffix.
        MissingPackage: the format's package is not installed.
    """
    check_suffix(path)
    return FORMATS[path.suffix.lower()](shape)


def check_suffix(path: Path) -> None:
    """Refuse the name of an output file with an unknown suffix.

    Raises:
        FileError: it lists the known ones.
    """
    if path.suffix.lower() not in FORMATS:
        raise FileError(f"{path}: end its name with one of {', '.join(FORMATS)}")


def documents(rows: Rows, shape: Shape) -> Iterable[dict[str, Any]]:
    """Yield every row as a JSON object. Fields that are None are left out."""
    columns = [rows.fields[name] for name in shape.fields]
    for fields, vector in zip(zip(*columns, strict=True), rows.vectors, strict=True):
        numbers = _numbers(vector)
        found: Any = dict(zip(shape.names, numbers, strict=True)) if shape.names else numbers
        given = {
            name: value
            for name, value in zip(shape.fields, fields, strict=True)
            if value is not None
        }
        yield given if np.isnan(vector).any() else given | {shape.vector: found}


def _numbers(vector: NDArray[np.float32]) -> list[Any]:
    """Return float32 numbers with no more digits than they have; empty cells if it failed."""
    if np.isnan(vector).any():
        return [""] * len(vector)
    return [float(text) for text in map(str, vector.astype(np.float32))]


def csv_lines(rows: Iterable[Sequence[Any]], *, tabs: bool = False) -> bytes:
    """Return rows as CSV in UTF-8, as RFC 4180 specifies it: quotes where needed, and CRLF.

    Args:
        rows: one cell for each column; None is an empty cell.
        tabs: whether cells are separated by tabs, and lines end with LF, as Unix tools expect.
    """
    text = io.StringIO(newline="")
    separator, end = ("\t", "\n") if tabs else (",", "\r\n")
    csv.writer(text, delimiter=separator, lineterminator=end).writerows(rows)
    return text.getvalue().encode()
