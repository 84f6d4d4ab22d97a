"""The drain of gRPC's server: calls are refused until no more arrive, then the server stops."""

from __future__ import annotations

import asyncio

from semserve_server.frontend.new_server import Server
from semserve_server.rpc.open_calls import OpenCalls
from semserve_server.supervision.watchdog import wait_or_timeout

REFUSE_SECONDS = 2.0
"""Most seconds in which calls are answered with "the server is stopping" before gRPC stops."""
QUIET_SECONDS = 0.3
"""Stop draining early if no call arrived for this long."""
NEVER = 864_000.0
"""Seconds after which gRPC's server would cancel calls by itself."""
LAST_SECONDS = 0.3
"""Seconds for health and reflection streams to end after the last other call."""


async def refuse_calls(refused: asyncio.Event, seconds: float) -> float:
    """Answer calls until no more arrive. gRPC cancels calls that find it closing.

    Args:
        refused: set at each call that is refused.
        seconds: most seconds to wait.

    Returns:
        The seconds that this took, at most about `seconds`.
    """
    clock = asyncio.get_running_loop().time
    begun = clock()
    while (left := begun + seconds - clock()) > 0:
        refused.clear()
        if not await wait_or_timeout(refused, min(QUIET_SECONDS, left)):
            break
    return clock() - begun


async def stop(server: Server, calls: OpenCalls, seconds: float) -> None:
    """Let gRPC stop after `seconds`, or sooner if no call is in progress.

    gRPC itself would wait for calls whose request never arrives. Two stops of gRPC's server with
    overlapping time limits crash it (grpcio 1.85), so this function keeps the time.
    """
    stopping = asyncio.create_task(server.stop(NEVER))
    answered = asyncio.create_task(calls.none())
    either: list[asyncio.Future[None]] = [stopping, answered]
    await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    answered.cancel()
    await asyncio.wait([stopping], timeout=min(seconds, LAST_SECONDS))
    await server.stop(None)
    await stopping
