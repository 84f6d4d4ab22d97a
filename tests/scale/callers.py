"""Callers who ask and stream again and again, and check each answer against the right one."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass

import numpy as np
from chaos.answers import TOLERANCE, Known
from semserve import AsyncClient, Retry, SemserveError

from scale.replicas import MODEL, ROUNDS

PATIENCE = 60.0
"""Seconds for the answers that a test waits for."""
BATCH = 3
"""Texts of one request."""
CALLERS, STREAMS = (8, 2) if ROUNDS else (2, 1)
PAUSE = 0.0 if ROUNDS else 0.05
"""Seconds between the calls of a caller. Without a pause the load takes all the time of a CPU."""
ONCE = Retry(attempts=1)
"""Each request is sent once: what fails, the caller sees."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some texts, and where they stand among the known ones."""

    places: list[int]
    texts: list[str]


class Callers:
    """Ask and stream until told to leave. What went wrong is in `faults`, in words."""

    def __init__(self, texts: Known) -> None:
        self.faults: list[str] = []
        self.calls = 0
        """Calls that were answered right."""
        self.messages = 0
        """Messages of streams that were answered right."""
        self._texts = texts
        self._left = asyncio.Event()
        self._answered = asyncio.Condition()

    def leave(self) -> None:
        """Let all go once the present answers have come."""
        self._left.set()

    async def wait_for(self, *, calls: int = 0, messages: int = 0) -> None:
        """Wait until so many more have been answered right, or one has gone wrong."""
        least_calls, least_messages = self.calls + calls, self.messages + messages

        def enough() -> bool:
            return self.calls >= least_calls and self.messages >= least_messages

        try:
            async with asyncio.timeout(PATIENCE), self._answered:
                await self._answered.wait_for(lambda: self.faults or enough())
        except TimeoutError:
            raise TimeoutError(
                f"after {PATIENCE:g} s, {self.calls} calls of {least_calls} are answered, "
                f"and {self.messages} messages of {least_messages}"
            ) from None

    async def ask(self, client: AsyncClient, first: int) -> None:
        """Call again and again."""
        async for batch in self._batches(first):
            try:
                reply = await client.embed(batch.texts, model=MODEL)
            except SemserveError as error:
                self.faults.append(f"a call failed: {error!r}")
                break
            self._judge(batch, np.asarray(reply))
            self.calls += 1
            await self._tell()
        await self._tell()

    async def stream(self, client: AsyncClient, first: int) -> None:
        """Stream message after message; each must be answered once."""
        sent: list[Batch] = []
        answers: Counter[int] = Counter()

        async def batches() -> AsyncIterator[list[str]]:
            async for batch in self._batches(first):
                sent.append(batch)
                yield batch.texts

        try:
            async with contextlib.aclosing(client.stream_embed(batches(), model=MODEL)) as stream:
                async for answer in stream:
                    answers[answer.index] += 1
                    self._judge(sent[answer.index], np.asarray(answer.result))
                    self.messages += 1
                    await self._tell()
        except SemserveError as error:
            self.faults.append(f"a stream failed: {error!r}")
        if answers != Counter(range(len(sent))):
            self.faults.append("a message of a stream was lost or doubled")
        await self._tell()

    async def _batches(self, first: int) -> AsyncGenerator[Batch, None]:
        """Yield batches, with pauses, until told to leave."""
        while not self._left.is_set():
            places = [(first + one) % len(self._texts.items) for one in range(BATCH)]
            yield Batch(places, [str(self._texts.items[place]) for place in places])
            first = places[-1] + 1
            if PAUSE:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._left.wait(), PAUSE)

    def _judge(self, batch: Batch, vectors: np.ndarray) -> None:
        expected = self._texts.rows[batch.places]
        if expected.shape != vectors.shape or not np.allclose(expected, vectors, atol=TOLERANCE):
            self.faults.append(f"a wrong answer for {batch.texts}")

    async def _tell(self) -> None:
        async with self._answered:
            self._answered.notify_all()


@contextlib.asynccontextmanager
async def callers(
    calling: AsyncClient,
    streaming: AsyncClient,
    texts: Known,
    *,
    number: int = CALLERS,
    streams: int = STREAMS,
) -> AsyncIterator[Callers]:
    """Let callers call until the end of the context, when all have had their last answers.

    Args:
        calling: the client of those who call.
        streaming: the client of those who stream.
        texts: what they ask, with the right answers.
        number: how many call.
        streams: how many stream.
    """
    all_of_them = Callers(texts)
    async with asyncio.TaskGroup() as tasks:
        for one in range(number):
            tasks.create_task(all_of_them.ask(calling, 7 * one))
        for one in range(streams):
            tasks.create_task(all_of_them.stream(streaming, 11 * one))
        try:
            await all_of_them.wait_for(calls=2 * number, messages=2 * streams)
            yield all_of_them
            await all_of_them.wait_for(calls=2 * number, messages=2 * streams)
        finally:
            all_of_them.leave()
    assert [] == all_of_them.faults, "\n".join(all_of_them.faults[:9])
