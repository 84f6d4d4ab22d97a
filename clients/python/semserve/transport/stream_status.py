"""The status of an ended grpc.aio stream, even if a request was being written at that moment.

If a call ends during a write, grpc.aio replaces the server's status with an error of its own,
INTERNAL without details: sometimes before that status has arrived, sometimes after it, and then
permanently. A caller would mistake a server that stops, or that requires a key, for one that is
broken.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import grpc.aio

T = TypeVar("T")

# grpc.aio's message for a write that the end of the call interrupted.
_OVERTAKEN = "Internal error from Core"
# The status arrives soon after this message, so the limit is only for safety.
_PAUSE_SECONDS = 0.005
_MOST_PAUSES = 200


class StreamStatus:
    """The status of a call, stored as soon as it is known.

    Args:
        call: grpc.aio's call object of a stream.
    """

    def __init__(self, call: Any) -> None:
        self._call = call
        self._first: grpc.aio.AioRpcError | None = None
        call.add_done_callback(self._note)

    async def wait(self, failed: grpc.aio.AioRpcError) -> grpc.aio.AioRpcError:
        """Return the server's status for a call that failed; its code may even be OK."""
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
    """Return the status of a call that is done."""
    return grpc.aio.AioRpcError(
        _now(call.code()),
        grpc.aio.Metadata(),
        _now(call.trailing_metadata()),
        _now(call.details()),
    )


def _now(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that has nothing to wait for, because the call is done, without the loop."""
    try:
        coroutine.send(None)
    except StopIteration as returned:
        value: T = returned.value
        return value
    coroutine.close()
    raise RuntimeError("the call is not done")
