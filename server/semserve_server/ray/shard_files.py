"""The files of an output, which are written atomically and can be verified separately.

A file carries the key of its job and its number in the metadata of its schema, the rows that it
holds in its column `row`, and a CRC32 of each page. A job therefore needs no list of what is
complete: it looks at the files.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from semserve_server.ray.shards import Shard

ROW = "row"
"""Column with the number of a row in the whole input, from 0."""
UNFINISHED = "_unfinished"
"""Directory, in the output, of files that are being written."""
ROW_GROUP_ROWS = 16_384
READ_ROWS = 8192
_JOB = b"semserve.job"
_SHARD = b"semserve.shard"


def write_shard(output: Path, shard: Shard, table: pa.Table, job: str) -> None:
    """Write a shard under a temporary name, verify it, and give it its name.

    Args:
        output: directory of the output.
        shard: the shard.
        table: its rows, with the column `row`.
        job: key of the job.

    Raises:
        OSError: the file cannot be written, or is not what was written.
    """
    table = table.replace_schema_metadata({_JOB: job, _SHARD: str(shard.number)})
    texts = [
        field.name
        for field in table.schema
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
    ]
    temporary = output / UNFINISHED / f"{shard.number:05d}-{uuid.uuid4().hex}.parquet"
    temporary.parent.mkdir(exist_ok=True)
    try:
        parquet.write_table(
            table, temporary, row_group_size=ROW_GROUP_ROWS, use_dictionary=texts,
            compression="zstd", column_encoding={ROW: "DELTA_BINARY_PACKED"},
            write_page_checksum=True,
        )  # fmt: skip
        _sync(temporary)
        problem = shard_problem(temporary, shard, job)
        if problem:
            raise OSError(f"{output / shard.name} was not written as it should be: {problem}")
        temporary.replace(output / shard.name)
    finally:
        temporary.unlink(missing_ok=True)
    _sync(output)


def add_attempt(output: Path, shard: Shard) -> int:
    """Count an attempt to make the file of a shard, and return the attempts of this run.

    The count is the size of a file, so that it survives the process.

    Raises:
        OSError: the file cannot be written.
    """
    counter = output / UNFINISHED / f"{shard.number:05d}.attempts"
    counter.parent.mkdir(exist_ok=True)
    with counter.open("ab") as file:
        file.write(b".")
        file.flush()
        return file.tell()


def shard_problem(path: Path, shard: Shard, job: str) -> str:
    """Return why a file is not the complete, undamaged file of a shard; empty if it is.

    The whole file is read, and the checksum of every page compared.
    """
    return _problem(path, shard, job, None)


def rows_problem(path: Path, shard: Shard, job: str) -> str:
    """Return why the file of a shard has not exactly its rows; empty if it has.

    Only the column `row` is read.
    """
    return _problem(path, shard, job, [ROW])


def _problem(path: Path, shard: Shard, job: str, columns: list[str] | None) -> str:
    """Return what is wrong with a file, after reading some columns of it, or all."""
    try:
        with parquet.ParquetFile(path, page_checksum_verification=True) as file:
            metadata = file.schema_arrow.metadata or {}
            at = shard.begin
            for batch in file.iter_batches(READ_ROWS, columns=columns):
                if not _are_next(batch.column(ROW), at):
                    return f"the rows from {at} on are not in order"
                at += len(batch)
    except FileNotFoundError:
        return "it is missing"
    except (pa.ArrowException, OSError, KeyError) as error:
        return " ".join(str(error).split())
    if (metadata.get(_JOB), metadata.get(_SHARD)) != (job.encode(), str(shard.number).encode()):
        return "it is of another job, or another shard"
    return "" if at == shard.begin + shard.rows else f"it has not {shard.rows} rows"


def _are_next(rows: pa.Array | pa.ChunkedArray, begin: int) -> bool:
    """Return whether numbers of rows are consecutive from `begin` on."""
    expected = np.arange(begin, begin + len(rows), dtype=np.int64)
    return bool(rows.null_count == 0 and np.array_equal(rows.to_numpy(), expected))


def _sync(path: Path) -> None:
    """Flush a file or directory to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
