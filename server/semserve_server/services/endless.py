"""Health and reflection, whose streams a client may hold open for ever, and which a drain ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from grpc_reflection.v1alpha import reflection, reflection_pb2

from semserve_server.errors import Draining, Overloaded
from semserve_server.models import STOPPING
from semserve_server.services.foreign import dialogue
from semserve_server.services.rpc import Context, Handlers

MAX_OPEN = 8192
"""Most streams of both services at a time: two for each connection that may be open."""
MAX_REFLECTIONS = 256
"""Most streams of reflection at a time. People's tools use them for a moment, and each may hold an
answer of some 20 kB that is not read."""
RETRY_SECONDS = 5.0
"""When a client that found no room should try again."""

_Result = TypeVar("_Result")


class Endless:
    """The open streams of both services."""

    def __init__(self) -> None:
        self._open: set[asyncio.Task[Any]] = set()
        self.ended = False
        """Whether the server drains, and no stream may wait for anything any more."""

    def reflection(self, names: list[str]) -> ReflectionServicer:
        """Make the reflection service for services of these full names."""
        return ReflectionServicer(self, names)

    def end(self) -> None:
        """End every open stream, and each that opens from now on."""
        self.ended = True
        for task in self._open:
            task.cancel()

    def check_room(self) -> None:
        """Refuse a stream before anything is done for it.

        Raises:
            Overloaded: too many are open.
        """
        _check_room("health and reflection", len(self._open), MAX_OPEN)

    async def unless_ended(self, waiting: Coroutine[Any, Any, _Result]) -> _Result | None:
        """Wait for something, but no longer than until the end; None where that came first.

        An RPC whose own task is cancelled would never send its status, so what it waits for is a
        task of its own.
        """
        if self.ended:
            waiting.close()
            return None
        task = asyncio.create_task(waiting)
        self._open.add(task)
        try:
            await asyncio.wait([task])
            return None if task.cancelled() else task.result()
        finally:
            task.cancel()
            self._open.discard(task)


class ReflectionServicer(reflection.aio.ReflectionServicer):  # type: ignore[misc]  # no types
    """grpcio's reflection, which ghz can use and whose stream can be ended."""

    def __init__(self, endless: Endless, names: list[str]) -> None:
        super().__init__(names, pool=MethodPool())
        self._endless = endless
        self._reflections = 0

    def handlers(self) -> Handlers:
        """Return the handler of the service's RPC."""
        kind = reflection_pb2.ServerReflectionRequest
        return {"ServerReflectionInfo": dialogue(kind, self.ServerReflectionInfo)}

    async def ServerReflectionInfo(  # noqa: N802  (gRPC's name)
        self,
        request_iterator: AsyncIterator[reflection_pb2.ServerReflectionRequest],
        unused_context: Context,
    ) -> AsyncIterator[reflection_pb2.ServerReflectionResponse]:
        """Answer what is asked of the schema.

        Raises:
            Draining: the server is stopping.
            Overloaded: too many streams are open.
        """
        if self._endless.ended:
            raise Draining(STOPPING)
        self._endless.check_room()
        _check_room("reflection", self._reflections, MAX_REFLECTIONS)
        answers = super().ServerReflectionInfo(request_iterator, unused_context)
        self._reflections += 1
        try:
            while (answer := await self._endless.unless_ended(anext(answers, None))) is not None:
                yield answer
        finally:
            self._reflections -= 1


def _check_room(services: str, streams: int, most: int) -> None:
    if streams >= most:
        raise Overloaded(
            f"{streams} streams of {services} are open, at most {most} may be",
            retry_after=RETRY_SECONDS,
            cause="open_streams",
        )


class MethodPool:
    """The default descriptor pool, which also finds the file of a method.

    ghz asks for the file that holds `pkg.Service.Method`, and protobuf's pool knows services and
    messages by name but not methods.
    """

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:  # noqa: N802  (protobuf's)
        """Find the file that declares a symbol, methods included.

        Raises:
            KeyError: there is none.
        """
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            return self._pool.FindMethodByName(symbol).containing_service.file
