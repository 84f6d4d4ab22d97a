"""Callers who only want their answers, whatever happens to the server meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncIterator, Iterator

import grpc
from grpc import StatusCode

from chaos.answers import Answers
from chaos.client import OWN_CONNECTION, PATIENCE
from chaos.judge import NO_REASON, Judge, Reasons
from chaos.questions import CLASSIFY, EMBED, Question, Questions
from chaos.server import Server
from chaos.stream import Message, Stream
from chaos.tally import Fate, Tally

MOST_UNANSWERED = 200
"""Messages that one who streams waits for: a server that stands still has some thousands otherwise,
and whoever leaves waits for them all."""

GONE: Reasons = frozenset({StatusCode.UNAVAILABLE})


class Bystanders:
    """Ask without a pause, each over a connection of its own; every third one streams.

    Who is told UNAVAILABLE leaves. That is a fault, unless the server may end.
    """

    def __init__(self, server: Server, answers: Answers, *, may_end: Reasons, seed: int) -> None:
        self.tally = Tally()
        self.told: set[str] = set()
        """What those were told who left."""
        self._judge = Judge(self.tally)
        self._address = server.address
        self._questions = Questions(answers, random.Random(seed))  # noqa: S311  (no secret)
        self._may_end = may_end
        self._stay = True
        self._answered = asyncio.Condition()

    async def wait_for(self, answers: int) -> None:
        """Wait until so many more have been answered right."""
        wanted = self.tally.fates[Fate.RIGHT] + answers
        async with asyncio.timeout(PATIENCE), self._answered:
            await self._answered.wait_for(lambda: self.tally.fates[Fate.RIGHT] >= wanted)

    def leave(self) -> None:
        """Let everyone go once the present answers have come."""
        self._stay = False

    async def ask(self) -> None:
        """Ask one thing after another."""
        async with grpc.aio.insecure_channel(self._address, options=OWN_CONNECTION) as channel:
            while self._stay and await self._ask(channel, self._questions.any()):
                async with self._answered:
                    self._answered.notify_all()

    async def _ask(self, channel: grpc.aio.Channel, question: Question) -> bool:
        self.tally.sent += 1
        call = channel.unary_unary(question.method)(question.content, timeout=PATIENCE)
        try:
            self._judge.answer(question, await call)
        except grpc.aio.AioRpcError as error:
            self.told.add(f"{error.code().name}: {error.details()}")
            self._judge.status(question, error.code(), error.details() or "", self._may_end)
            return False
        return True

    async def stream(self, method: str) -> None:
        """Send one message after another, and read the answers."""
        async with grpc.aio.insecure_channel(self._address, options=OWN_CONNECTION) as channel:
            stream = Stream(channel, method, self._judge, most_unanswered=MOST_UNANSWERED)
            writing = asyncio.create_task(stream.write(self._messages(method)))
            await stream.read(None, patience=PATIENCE)
            writing.cancel()
            await asyncio.wait([writing])
            stream.close(self._may_end)

    def _messages(self, method: str) -> Iterator[Message]:
        for number in itertools.takewhile(lambda _: self._stay, itertools.count()):
            yield Message.of(str(number), self._questions.streamed(method))


@contextlib.asynccontextmanager
async def bystanders(
    server: Server,
    answers: Answers,
    *,
    number: int = 3,
    may_end: Reasons = NO_REASON,
    seed: int = 0,
) -> AsyncIterator[Bystanders]:
    """Let so many ask until the end of the context, when all have had their last answers."""
    all_of_them = Bystanders(server, answers, may_end=may_end, seed=seed)
    async with asyncio.TaskGroup() as tasks:
        for one in range(number):
            if one % 3:
                tasks.create_task(all_of_them.ask())
            else:
                tasks.create_task(all_of_them.stream(EMBED if one % 2 else CLASSIFY))
        try:
            yield all_of_them
        finally:
            all_of_them.leave()
