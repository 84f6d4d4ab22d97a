"""One stream as a caller sees it: what was sent and waits for its answer."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterable
from dataclasses import dataclass

import grpc
from grpc import StatusCode
from load.wire import field
from semserve.v1 import classification_pb2, embedding_pb2

from chaos.judge import NO_REASON, Judge, Reasons
from chaos.questions import CLASSIFY, EMBED, Question
from chaos.tally import Fate

RESPONSES = {
    EMBED: embedding_pb2.StreamEmbedResponse,
    CLASSIFY: classification_pb2.StreamClassifyResponse,
}
PATHS = {
    EMBED: "/semserve.v1.EmbeddingService/StreamEmbed",
    CLASSIFY: "/semserve.v1.ClassificationService/StreamClassify",
}
CODES: dict[int, StatusCode] = {code.value[0]: code for code in StatusCode}
FAILED_TO_WRITE = "Internal error from Core"
"""What grpc.aio puts in the place of the call's own status where a message could not be sent."""
NOT_EVEN_AN_ID = b"\xff\xff\xff"


@dataclass(frozen=True, slots=True)
class Message:
    """A message of a stream."""

    name: str
    """Its id; empty where the server cannot read one."""
    question: Question
    content: bytes

    @classmethod
    def of(cls, name: str, question: Question) -> Message:
        """Wrap a request."""
        return cls(name, question, field(1, name.encode()) + field(2, question.content))

    @classmethod
    def broken(cls, question: Question) -> Message:
        """Make bytes of which nothing can be read."""
        return cls("", question, NOT_EVEN_AN_ID)


class Stream:
    """A bidirectional call whose every answer is judged."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        method: str,
        judge: Judge,
        *,
        timeout: float | None = None,
        most_unanswered: int = sys.maxsize,
    ) -> None:
        self._room = asyncio.Semaphore(most_unanswered)
        self._call = channel.stream_stream(PATHS[method])(timeout=timeout)
        self._parse = RESPONSES[method].FromString
        self._judge = judge
        self._open: dict[str, list[Question]] = {}
        self._details = ""
        self.code: StatusCode | None = None
        """How the call ended, once `read` has seen it end."""

    async def write(self, messages: Iterable[Message]) -> None:
        """Send the messages and half-close; ends early where the call does."""
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            for message in messages:
                await self._room.acquire()
                # Counted before it is sent: cut off in the middle, it may be answered or not.
                self._judge.tally.sent += 1
                self._open.setdefault(message.name, []).append(message.question)
                await self._call.write(message.content)
            await self._call.done_writing()

    async def read(self, answers: int | None, *, patience: float) -> None:
        """Read and judge so many answers, or all there are, and note how the call ended.

        Args:
            answers: how many to read before leaving; None for all.
            patience: seconds that each may take.
        """
        with contextlib.suppress(TimeoutError, grpc.aio.AioRpcError, asyncio.CancelledError):
            while answers is None or answers > 0:
                async with asyncio.timeout(patience):
                    content = await self._call.read()
                if content is grpc.aio.EOF:
                    break
                self._take(content)
                answers = None if answers is None else answers - 1
            else:
                self._call.cancel()
        if self._call.done():
            self.code, self._details = await self._call.code(), await self._call.details() or ""

    def _take(self, content: bytes) -> None:
        answer = self._parse(content)
        waiting = self._open.get(answer.id)
        if not waiting:
            self._judge.unasked(answer.id)
            return
        question = waiting.pop()
        self._room.release()
        if answer.HasField("error"):
            self._judge.status(question, CODES[answer.error.code], answer.error.message)
        else:
            self._judge.answer(question, answer.response.SerializeToString())

    def close(self, reasons: Reasons = NO_REASON) -> None:
        """Judge what was not answered by how the call ended."""
        self._call.cancel()
        # Whose behaviour ends the stream while a message is being sent never learns its status.
        excused = bool(reasons) and self._details.startswith(FAILED_TO_WRITE)
        for question in (one for waiting in self._open.values() for one in waiting):
            if excused:
                self._judge.tally.add(Fate.ABANDONED)
            elif self.code in (None, StatusCode.OK):
                self._judge.nothing(question)
            else:
                self._judge.status(question, self.code, self._details, reasons)
        self._open.clear()
