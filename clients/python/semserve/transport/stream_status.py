"""Why a stream of grpc.aio ended, even where a request was being written just then.

A write that the end of its call overtakes makes grpc.aio put an error of its own, INTERNAL and
without details, in the place of the status that the server sent: sometimes before that status has
come, sometimes after, and then for good. A caller would take a server that stops, or that wants a
key, for one that is broken.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import grpc.aio

T = TypeVar("T")

# What grpc.aio says of a write that was overtaken.
_OVERTAKEN = "Internal error from Core"
# The status is on its way when this is said, so the bound is only for safety.
_PAUSE_SECONDS = 0.005
_MOST_PAUSES = 200


class StreamStatus:
    """The status that a call ends with, noted as soon as it is there.

    Args:
        call: what grpc.aio returned for a stream.
    """

    def __init__(self, call: Any) -> None:
        self._call = call
        self._first: grpc.aio.AioRpcError | None = None
        call.add_done_callback(self._note)

    async def wait(self, failed: grpc.aio.AioRpcError) -> grpc.aio.AioRpcError:
        """Give the server's status for a call that failed; its code may even be OK."""
        if failed.details() != _OVERTAKEN:
            return failed
        for _ in range(_MOST_PAUSES):
            for status in (self._first, _status(self._call)):
                if status is not None and status.details() != _OVERTAKEN:
                    return status
            await asyncio.sleep(_PAUSE_SECONDS)
        return failed

    def _note(self, call: Any) -> None:
        self._first = self._first or _status(call)


def _status(call: Any) -> grpc.aio.AioRpcError:
    """Give the status of a call that is done."""
    return grpc.aio.AioRpcError(
        _now(call.code()),
        grpc.aio.Metadata(),
        _now(call.trailing_metadata()),
        _now(call.details()),
    )


def _now(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run what has nothing to wait for, since the call is done, without the event loop's turn."""
    try:
        coroutine.send(None)
    except StopIteration as returned:
        value: T = returned.value
        return value
    coroutine.close()
    raise RuntimeError("the call is not done")
