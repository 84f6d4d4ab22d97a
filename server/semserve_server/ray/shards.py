"""The plan of a job: which rows of which file become which file of the output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A range of rows of one input file, which becomes one output file."""

    number: int
    file: int
    """Index of the input file."""
    first: int
    """First row, counted in the input file from 0."""
    rows: int
    begin: int
    """First row, counted over all input files from 0."""

    @property
    def name(self) -> str:
        """Name of the output file."""
        return f"part-{self.number:05d}.parquet"


def plan(file_rows: Sequence[int], shard_rows: int) -> list[Shard]:
    """Divide input files into shards. The same arguments always give the same shards.

    A shard never has rows of two files, and a file without rows has no shard.

    Args:
        file_rows: rows of each input file.
        shard_rows: most rows of a shard.
    """
    return list(_shards(file_rows, shard_rows))


def _shards(file_rows: Sequence[int], shard_rows: int) -> Iterator[Shard]:
    number = begin = 0
    for file, total in enumerate(file_rows):
        for first in range(0, total, shard_rows):
            rows = min(shard_rows, total - first)
            yield Shard(number=number, file=file, first=first, rows=rows, begin=begin + first)
            number += 1
        begin += total
