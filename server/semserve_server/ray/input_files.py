"""The Parquet files that a job reads."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from semserve_server.errors import JobRefused

READ_ROWS = 8192
"""Most rows that are decoded at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFile:
    """A Parquet file as it was when the job was planned."""

    path: Path
    name: str
    """Path below the input, with `/`."""
    sha256: str
    rows: int
    size: int
    """Bytes."""
    modified: int
    """Time of the last change, in nanoseconds since 1970."""

    def has_changed(self) -> bool:
        """Return whether the file has another size or time of change than when it was planned."""
        try:
            present = self.path.stat()
        except OSError:
            return True
        return (self.size, self.modified) != (present.st_size, present.st_mtime_ns)


def find_files(source: Path) -> list[InputFile]:
    """Return the input file, or the `.parquet` files below a directory, sorted by name.

    Files and directories whose names begin with `_` or `.` are left out, as Spark and Arrow do.

    Raises:
        JobRefused: there is no such file, or a file is not Parquet.
    """
    if source.is_file():
        return [_described(source, source.name)]
    if not source.is_dir():
        raise JobRefused(f"{source}: the file does not exist")
    names = sorted(
        path.relative_to(source)
        for path in source.rglob("*.parquet")
        if not any(part[0] in "_." for part in path.relative_to(source).parts) and path.is_file()
    )
    if not names:
        raise JobRefused(f"{source} contains no .parquet file")
    return [_described(source / name, name.as_posix()) for name in names]


def schema_of(files: Sequence[InputFile], columns: Sequence[str]) -> pa.Schema:
    """Return the named columns, which must be the same in every file.

    Raises:
        JobRefused: a file lacks a column, or has another type for it.
    """
    first: pa.Schema | None = None
    for file in files:
        present = parquet.read_schema(file.path)
        for name in columns:
            if present.names.count(name) != 1:
                has = ", ".join(present.names) or "none"
                raise JobRefused(f"{file.path}: there is no column {name!r}; the columns are {has}")
        fields = pa.schema([present.field(name).remove_metadata() for name in columns])
        first = first or fields
        for one, other in zip(fields, first, strict=True):
            if one.type != other.type:
                raise JobRefused(
                    f"{file.path}: column {one.name!r} is {one.type}, but it is {other.type} "
                    f"in {files[0].path}"
                )
    return first or pa.schema([])


def check_texts(schema: pa.Schema, columns: Sequence[str]) -> None:
    """Refuse columns that hold no texts.

    Raises:
        JobRefused: names the column and its type.
    """
    for name in columns:
        kind = schema.field(name).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise JobRefused(f"column {name!r} is {kind}, not string: choose with --column")


def read_rows(path: Path, columns: Sequence[str], first: int, count: int) -> pa.Table:
    """Read some columns of a range of rows. Row groups outside the range are not decoded.

    Args:
        path: the Parquet file.
        columns: names of the columns.
        first: first row.
        count: number of rows.

    Raises:
        ArrowException, OSError: the file cannot be read.
    """
    with parquet.ParquetFile(path) as file:
        groups, at = _row_groups(file.metadata, first, first + count)
        parts = []
        for batch in file.iter_batches(READ_ROWS, row_groups=groups, columns=[*columns]):
            low, high = max(first - at, 0), min(first + count - at, len(batch))
            if low < high:
                parts.append(batch.slice(low, high - low))
            at += len(batch)
            if at >= first + count:
                break
        return pa.Table.from_batches(parts).select([*columns])


def _row_groups(metadata: parquet.FileMetaData, first: int, end: int) -> tuple[list[int], int]:
    """Return the row groups that have rows of a range, and the first row of the first group."""
    groups: list[int] = []
    start = begin = 0
    for index in range(metadata.num_row_groups):
        rows = metadata.row_group(index).num_rows
        if begin < end and begin + rows > first:
            if not groups:
                start = begin
            groups.append(index)
        begin += rows
    return groups, start


def _described(path: Path, name: str) -> InputFile:
    path = path.resolve()
    try:
        before = path.stat()
        with path.open("rb") as content:
            sha256 = hashlib.file_digest(content, "sha256").hexdigest()
        rows = parquet.read_metadata(path).num_rows
    except (pa.ArrowException, OSError) as error:
        raise JobRefused(f"{path}: {error}") from None
    return InputFile(
        path=path, name=name, sha256=sha256, rows=rows,
        size=before.st_size, modified=before.st_mtime_ns,
    )  # fmt: skip
