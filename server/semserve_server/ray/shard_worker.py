"""The work of one process: reads a shard's rows, runs the model, writes the shard's file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from semserve_server.errors import InferenceFailed, JobRefused, SemserveError, StartupError
from semserve_server.ray.batches import BATCH_CLASSES, ERROR, ClassifyTexts, EmbedTexts
from semserve_server.ray.input_files import InputFile, read_rows
from semserve_server.ray.shard_files import ROW, add_attempt, shard_problem, write_shard
from semserve_server.ray.shards import Shard
from semserve_server.ray.sorted_calls import InvalidRow
from semserve_server.repository.manifest import read_manifest

MOST_ATTEMPTS = 8
"""How often a run begins a shard. Another attempt follows if the worker or its node died."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """The part of a job's settings that a worker needs."""

    task: str
    bundle: Path
    model_digest: str
    files: tuple[InputFile, ...]
    output: Path
    key: str
    columns: tuple[str, ...]
    keep: tuple[str, ...]
    options: Mapping[str, Any]
    allow_partial: bool
    model_settings: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of `open_model`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardReport:
    """The report of a worker about a shard."""

    number: int
    rows: int
    failed: int = 0
    """Rows with an error in the place of a result, of those that were computed now."""
    computed: bool = True
    """False if an earlier run had completed the shard."""
    variant: str = ""
    """The graph that ran, and its provider."""
    error: str = ""
    """Why the shard has no file, in one line; empty if it has."""


class ShardWorker:
    """Makes the files of shards. Opens the model when the first shard needs it."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._model: EmbedTexts | ClassifyTexts | None = None

    def process(self, shard: Shard) -> ShardReport:
        """Make the file of a shard, unless a complete one is there.

        Errors that would happen again are reported. A file that is missing, damaged or of another
        job is made again.
        """
        settings = self._settings
        if not shard_problem(settings.output / shard.name, shard, settings.key):
            return ShardReport(number=shard.number, rows=shard.rows, computed=False)
        try:
            return self._attempt(shard, settings.files[shard.file])
        except (pa.ArrowException, OSError) as error:
            return _stopped(shard, f"{settings.files[shard.file].path}: {error}")
        except (SemserveError, StartupError) as error:
            return _stopped(shard, str(error))

    def close(self) -> None:
        """Close the model, if a shard has needed it."""
        if self._model is not None:
            self._model.close()
            self._model = None

    def _attempt(self, shard: Shard, file: InputFile) -> ShardReport:
        rows = f"{file.path}: rows {shard.first} to {shard.first + shard.rows - 1}"
        if add_attempt(self._settings.output, shard) > MOST_ATTEMPTS:
            died = f"the worker died {MOST_ATTEMPTS} times (memory?); try fewer --shard-rows"
            return _stopped(shard, f"{rows}: {died}")
        try:
            return self._compute(shard, file)
        except InvalidRow as error:
            advice = "pass --allow-partial to leave its result empty"
            row = shard.first + error.row
            return _stopped(shard, f"{file.path}: row {row}: {error.reason}; {advice}")
        except InferenceFailed:
            return _stopped(shard, f"{rows}: inference failed for one of them")

    def _compute(self, shard: Shard, file: InputFile) -> ShardReport:
        settings = self._settings
        if not file.path.is_file() or file.path.stat().st_size != file.size:
            raise JobRefused(f"{file.path} has changed since the job was begun")
        model = self._opened()
        names = tuple(dict.fromkeys((*settings.columns, *settings.keep)))
        table = model(read_rows(file.path, names, shard.first, shard.rows))
        if len(table) != shard.rows:
            raise JobRefused(f"{file.path} has changed since the job was begun")
        numbers = np.arange(shard.begin, shard.begin + shard.rows, dtype=np.int64)
        table = table.drop_columns([name for name in names if name not in settings.keep])
        table = table.add_column(0, ROW, pa.array(numbers))
        failed = len(table) - table.column(ERROR).null_count
        write_shard(settings.output, shard, table, settings.key)
        return ShardReport(
            number=shard.number, rows=shard.rows, failed=failed, variant=model.variant
        )

    def _opened(self) -> EmbedTexts | ClassifyTexts:
        if self._model is None:
            settings = self._settings
            if read_manifest(settings.bundle)[1] != settings.model_digest:
                raise JobRefused(f"{settings.bundle} is not the same bundle on every machine")
            self._model = BATCH_CLASSES[settings.task](
                settings.bundle,
                columns=settings.columns,
                options=settings.options,
                allow_partial=settings.allow_partial,
                **settings.model_settings,
            )
        return self._model


def run_here(settings: WorkerSettings, shards: Sequence[Shard]) -> Iterator[ShardReport]:
    """Run the shards of a job in this process, without Ray; yield the report of each."""
    with closing(ShardWorker(settings)) as worker:
        for shard in shards:
            yield worker.process(shard)


def _stopped(shard: Shard, error: str) -> ShardReport:
    return ShardReport(number=shard.number, rows=shard.rows, error=" ".join(error.split()))
