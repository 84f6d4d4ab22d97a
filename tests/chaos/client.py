"""A client process: its callers behave well, badly and unluckily, and check every answer."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable
from dataclasses import dataclass

import grpc
from grpc import StatusCode

from chaos.answers import Answers
from chaos.cable import cable
from chaos.judge import LATE, LEFT, NO_REASON, Judge, Reasons
from chaos.questions import CLASSIFY, EMBED, Question, Questions
from chaos.stream import FAILED_TO_WRITE, Message, Stream
from chaos.tally import Tally

PATIENCE = 60.0
"""Seconds after which an answer counts as missing."""
OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1),)


@dataclass(frozen=True, slots=True)
class Task:
    """What a client process is to do."""

    address: str
    answers: Answers
    requests: int
    """Fewest requests to send."""
    callers: int
    """Callers at once."""
    seed: int


def drive(task: Task) -> Tally:
    """Send the requests and tell what became of them; blocks."""
    return asyncio.run(_drive(task))


async def _drive(task: Task) -> Tally:
    async with grpc.aio.insecure_channel(task.address, options=OWN_CONNECTION) as channel:
        client = Client(task, channel)
        async with asyncio.TaskGroup() as callers:
            for _ in range(task.callers):
                callers.create_task(client.behave())
    return client.tally


class Client:
    """The callers of one process, over one connection and some that are cut."""

    def __init__(self, task: Task, channel: grpc.aio.Channel) -> None:
        self.tally = Tally()
        self._judge = Judge(self.tally)
        self._task = task
        self._channel = channel
        self._draw = random.Random(task.seed)  # noqa: S311  (behaviour is no secret)
        self._questions = Questions(task.answers, self._draw)
        self._ways = {
            self._ask: 6,
            self._ask_badly: 2,
            self._ask_and_leave: 2,
            self._ask_in_a_hurry: 2,
            self._misuse_the_half_close: 1,
            self._stream: 6,
            self._stream_and_read_late: 2,
            self._stream_and_leave: 2,
            self._stream_in_a_hurry: 1,
            self._fall_off_the_net: 1,
        }

    async def behave(self) -> None:
        """Do one thing after another, until enough requests have been sent."""
        while self.tally.sent < self._task.requests:
            (way,) = self._draw.choices(list(self._ways), weights=self._ways.values())
            self.tally.ways[way.__name__.strip("_")] += 1
            await way()

    # ---- calls ------------------------------------------------------------------------------

    async def _ask(self) -> None:
        for _ in range(10):
            await self._end_of(self._channel, self._questions.any())

    async def _ask_badly(self) -> None:
        method = self._draw.choice((EMBED, CLASSIFY))
        await self._end_of(self._channel, self._questions.bad(method))

    async def _ask_and_leave(self) -> None:
        """Cancel some of the calls that share batches; the others must not suffer."""
        calls = [self._call(self._channel, self._questions.any()) for _ in range(10)]
        await self._some_turns()
        left = [call for call in calls if self._draw.random() < 0.5]
        for _, call in left:
            call.cancel()
        await asyncio.gather(
            *(self._settle(*one, LEFT if one in left else NO_REASON) for one in calls)
        )

    async def _ask_in_a_hurry(self) -> None:
        for _ in range(5):
            timeout = self._draw.choice((0.001, 0.003, 0.01, 0.03))
            await self._end_of(self._channel, self._questions.any(), LATE, timeout=timeout)

    async def _misuse_the_half_close(self) -> None:
        """Send a unary method two messages, of which it takes the first, or none.

        Of a call that closes without a message gRPC tells its handler nothing, so it is answered by
        its deadline.
        """
        question = self._questions.streamed(EMBED)
        contents = [question.content] * self._draw.choice((0, 2))
        call = self._channel.stream_stream(EMBED)(
            iter(contents), timeout=PATIENCE if contents else 0.05
        )
        self.tally.sent += 1
        try:
            (answer,) = [one async for one in call]
            self._judge.answer(question, answer)
        except (grpc.aio.AioRpcError, asyncio.CancelledError):
            details = await call.details() or ""
            # Answered before the second message was sent, which then cannot be.
            too_late = len(contents) > 1 and details.startswith(FAILED_TO_WRITE)
            reasons = LATE if not contents else NO_REASON
            if too_late:
                reasons = frozenset({StatusCode.INTERNAL})
            self._judge.status(question, await call.code(), details, reasons)

    async def _end_of(
        self,
        channel: grpc.aio.Channel,
        question: Question,
        reasons: Reasons = NO_REASON,
        *,
        timeout: float | None = None,  # noqa: ASYNC109  (the deadline that gRPC carries)
    ) -> None:
        await self._settle(*self._call(channel, question, timeout), reasons)

    def _call(
        self, channel: grpc.aio.Channel, question: Question, timeout: float | None = None
    ) -> tuple[Question, grpc.aio.UnaryUnaryCall]:
        self.tally.sent += 1
        return question, channel.unary_unary(question.method)(question.content, timeout=timeout)

    async def _settle(self, question: Question, call: Awaitable[bytes], reasons: Reasons) -> None:
        """Wait for the end of a call and judge it."""
        try:
            async with asyncio.timeout(PATIENCE):
                self._judge.answer(question, await call)
        except TimeoutError:
            self._judge.nothing(question)
        except asyncio.CancelledError:
            self._judge.status(question, StatusCode.CANCELLED, "here", reasons)
        except grpc.aio.AioRpcError as error:
            self._judge.status(question, error.code(), error.details() or "", reasons)

    # ---- streams ----------------------------------------------------------------------------

    async def _stream(self) -> None:
        await self._end_of_stream(self._channel, size=self._draw.choice((0, 1, 30, 300)))

    async def _stream_and_read_late(self) -> None:
        """Read the first answer only after the server has stopped reading messages."""
        await self._end_of_stream(self._channel, size=150, late=True)

    async def _stream_and_leave(self) -> None:
        answers = self._draw.randrange(1, 60)
        await self._end_of_stream(self._channel, size=100, reasons=LEFT, answers=answers)

    async def _stream_in_a_hurry(self) -> None:
        timeout = self._draw.choice((0.005, 0.02, 0.08))
        await self._end_of_stream(self._channel, size=100, reasons=LATE, timeout=timeout)

    async def _end_of_stream(
        self,
        channel: grpc.aio.Channel,
        *,
        size: int,
        reasons: Reasons = NO_REASON,
        late: bool = False,
        answers: int | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  (the deadline that gRPC carries)
    ) -> None:
        method = self._draw.choice((EMBED, CLASSIFY))
        stream = Stream(channel, method, self._judge, timeout=timeout)
        writing = asyncio.create_task(stream.write(self._messages(method, size)))
        if late:
            await self._ask()
        await stream.read(answers, patience=PATIENCE)
        writing.cancel()
        await asyncio.wait([writing])
        stream.close(reasons)

    def _messages(self, method: str, size: int) -> list[Message]:
        """Make a stream's messages, of which one in fifty is bad."""
        messages = []
        for number in range(size):
            if self._draw.random() < 0.98:
                messages.append(Message.of(str(number), self._questions.streamed(method)))
                continue
            bad = self._questions.bad(method)
            nameless = self._draw.random() < 0.2
            messages.append(Message.broken(bad) if nameless else Message.of(str(number), bad))
        return messages

    # ---- the net ----------------------------------------------------------------------------

    async def _fall_off_the_net(self) -> None:
        """Ask and stream over a connection that is reset in the middle."""
        async with (
            cable(self._task.address) as line,
            grpc.aio.insecure_channel(line.address, options=OWN_CONNECTION) as channel,
        ):
            asking = [
                asyncio.create_task(self._end_of(channel, self._questions.any(), LEFT))
                for _ in range(10)
            ]
            streaming = asyncio.create_task(self._end_of_stream(channel, size=200, reasons=LEFT))
            await asyncio.wait(asking[: self._draw.randrange(1, 10)])
            line.cut()
            await asyncio.gather(*asking, streaming)

    async def _some_turns(self) -> None:
        """Let the loop turn a while, so that what comes next meets calls at every stage."""
        for _ in range(self._draw.randrange(200)):
            await asyncio.sleep(0)
