"""Runs a long file over one stream, in order, and commits what is complete."""

import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from semserve.bulk.errors import FileError
from semserve.bulk.journal import Journal, digest, read_journal
from semserve.bulk.locked_file import cut, open_locked
from semserve.bulk.records import Columns, Record, read_records
from semserve.bulk.row_files import RowFile, Rows, Shape, check_suffix, row_file
from semserve.errors import InvalidRequest

if TYPE_CHECKING:
    from semserve.requests.work import Answer

BATCH_RECORDS = 256
BATCH_CHARACTERS = 500_000
"""Most records and characters of one request of the stream, unless one record has more."""
MAX_BATCHES = 16
"""Most batches in memory: those without an answer, and those whose turn has not come."""
COMMIT_ROWS = 4096
"""Rows between two entries of the journal: what a killed run computes again at most."""


PATH_ENDS = (".partial", ".partial.finished", ".journal")
"""What the names of an unfinished output's files add to its own name."""


class Paths(NamedTuple):
    """The files of an unfinished output.

    Attributes:
        partial: its rows.
        finished: the rows in the final format, if that is another.
        journal: its journal.
    """

    partial: Path
    finished: Path
    journal: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a run does.

    Attributes:
        inputs: the files, in order.
        columns: which columns of the files to read.
        output: the file to write; its suffix is the format.
        shape: the columns of the output.
        settings: what the rows depend on, for the journal.
        stream: sends batches of texts or pairs, and yields the answers in any order.
        rows: converts records and the result of their batch to rows.
        overwrite: whether to discard an older output, finished or not.
    """

    inputs: Sequence[Path]
    columns: Columns
    output: Path
    shape: Shape
    settings: Mapping[str, Any]
    stream: Callable[[Iterable[list[Any]]], Generator["Answer[Any]", None, None]]
    rows: Callable[[Sequence[Record], Any], Rows]
    overwrite: bool = False

    def run(self, progress: Callable[[int], None], resumed: Callable[[int], None]) -> Journal:
        """Write the output, and return its last journal.

        Args:
            progress: called with the number of complete rows.
            resumed: called with the number of rows that an earlier run left.

        Raises:
            FileError: a file is not valid, has changed, or exists already.
            SemserveError: the server failed; the journal keeps what was complete.
            OSError: a file cannot be read or written.
        """
        check_suffix(self.output)
        paths = Paths(*(self.output.with_name(self.output.name + end) for end in PATH_ENDS))
        if not self.overwrite and (done := self._already_done(paths)):
            return done
        inputs = {str(path): digest(path) for path in self.inputs}
        wanted = Journal(settings=self.settings, inputs=inputs)
        target = row_file(self.output, self.shape)
        with open_locked(paths.partial, self.output) as file:
            if self.overwrite:
                for path in (self.output, paths.journal, paths.finished):
                    path.unlink(missing_ok=True)
            found = read_journal(paths.journal)
            if found is not None:
                found.check(wanted, self.output)
                resumed(found.rows)
            cut(file, found.size if found else 0, paths.partial)
            if found is None:
                file.write(target.begin())
            run = _Run(self, target, file, found or wanted, paths.journal)
            run.run(progress)
            target.finish(paths.partial, paths.finished, run.journal.rows)
            if paths.finished.exists():
                paths.partial.unlink()
                paths.finished.replace(self.output)
            else:
                paths.partial.replace(self.output)
            paths.journal.unlink()
        return run.journal

    def _already_done(self, paths: Paths) -> Journal | None:
        """Take the last steps of a run that was killed between them.

        Return its journal, or None if there is work to do.

        Raises:
            FileError: the output exists, and no journal belongs to it.
        """
        found = read_journal(paths.journal)
        if found is not None and not paths.partial.exists():
            if paths.finished.exists():  # complete, because the partial file is deleted after it
                paths.finished.replace(self.output)
            if self.output.exists():
                paths.journal.unlink()
                return found
        if self.output.exists():
            raise FileError(f"{self.output} exists: pass --overwrite to replace it")
        return None


class _Run:
    """One run of a job: from the journal to the end, or to its interruption."""

    def __init__(
        self, job: Job, target: RowFile, file: IO[bytes], journal: Journal, path: Path
    ) -> None:
        self._job, self._target, self._file, self._path = job, target, file, path
        self._sent: dict[int, list[tuple[Path, Record]]] = {}
        self._slots = threading.Semaphore(MAX_BATCHES)
        self._stopped = False
        self.journal = journal
        self._committed = -1

    def run(self, progress: Callable[[int], None]) -> None:
        """Write the rows that are missing, and commit them however the run ends."""
        early: dict[int, Any] = {}
        written = 0
        try:
            with closing(self._job.stream(self._batches())) as answers:
                for answer in answers:
                    early[answer.index] = answer
                    while written in early:
                        self._write(early.pop(written))
                        written += 1
                        if self.journal.rows - self._committed >= COMMIT_ROWS:
                            self._commit()
                        self._slots.release()
                    progress(self.journal.rows)
        finally:
            self._stopped = True
            self._slots.release(MAX_BATCHES)
            self._commit()

    def _batches(self) -> Iterator[list[Any]]:
        """Yield the batches after the rows of the journal, as fast as rows are written."""
        records = (
            (path, record)
            for path in self._job.inputs
            for record in read_records(path, self._job.columns)
        )
        skipped = sum(1 for _ in islice(records, self.journal.rows))
        if skipped < self.journal.rows:
            raise FileError(f"{self._job.output} has more rows than its input: pass --overwrite")
        for index, batch in enumerate(batched(records)):
            self._slots.acquire()
            if self._stopped:
                return
            self._sent[index] = batch
            yield [one.texts if len(one.texts) > 1 else one.texts[0] for _, one in batch]

    def _write(self, answer: "Answer[Any]") -> None:
        batch = self._sent.pop(answer.index)
        if answer.error is not None:
            raise _located(answer.error, batch)
        rows = self._job.rows([record for _, record in batch], answer.result)
        self._file.write(self._target.append(rows))
        self.journal = replace(
            self.journal,
            rows=self.journal.rows + len(rows),
            failed=self.journal.failed + len(answer.result.errors),
            tokens=self.journal.tokens + answer.result.usage.token_count,
        )

    def _commit(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self.journal = replace(self.journal, size=self._file.tell())
        self.journal.write(self._path)
        self._committed = self.journal.rows


def batched(records: Iterable[tuple[Path, Record]]) -> Iterator[list[tuple[Path, Record]]]:
    """Divide records into batches. The same records always give the same batches."""
    batch: list[tuple[Path, Record]] = []
    characters = 0
    for one in records:
        size = sum(map(len, one[1].texts))
        if batch and (len(batch) == BATCH_RECORDS or characters + size > BATCH_CHARACTERS):
            yield batch
            batch, characters = [], 0
        batch.append(one)
        characters += size
    if batch:
        yield batch


def _located(error: Exception, batch: Sequence[tuple[Path, Record]]) -> Exception:
    """Name the line of the file in the error of a text."""
    if isinstance(error, InvalidRequest):
        for field, reason in error.fields.items():
            place = field.partition("[")[2].partition("]")[0]
            if place.isdecimal() and int(place) < len(batch):
                path, record = batch[int(place)]
                advice = "pass --allow-partial to leave its row empty"
                return FileError(f"{path}: line {record.place}: {reason}; {advice}")
    return error
