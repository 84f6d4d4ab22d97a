"""A bare grpc.aio server that answers with bytes of a given size: what gRPC in Python can do.

Run as a program it serves; `echo` starts it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc

from load.client import ID_BYTES
from load.process import running
from load.server import Server
from load.wire import Wire, field

SERVICE = "load.Echo"


@contextlib.contextmanager
def echo(
    like: Wire, answer: bytes, *, name: str = "echo", packages: Path | None = None
) -> Iterator[Server]:
    """Serve `answer`, alone or after the id of a stream's message, to requests `like` another's.

    Packages of a directory `packages` come before those of this environment.
    """
    path = [str(packages.absolute())] if packages else []
    environment = {"PYTHONPATH": os.pathsep.join([*path, str(Path(__file__).parents[2])])}
    command = [sys.executable, "-m", "load.servers.echo", answer.hex()]
    with running(name, command, environment=environment) as process:
        port = process.wait_for(lambda said: said.endswith("\n"), "port").strip()
        dialect = Wire(f"/{SERVICE}/Ask", f"/{SERVICE}/Stream", like.write)
        yield Server(name, process, f"127.0.0.1:{port}", dialect, len(answer))


async def _serve(answer: bytes) -> None:
    streamed = field(2, answer)

    async def ask(_request: bytes, _context: Any) -> bytes:
        return answer

    async def stream(_messages: object, context: Any) -> None:
        while (message := await context.read()) is not grpc.aio.EOF:
            await context.write(message[:ID_BYTES] + streamed)

    server = grpc.aio.server()
    handlers = {
        "Ask": grpc.unary_unary_rpc_method_handler(ask),
        "Stream": grpc.stream_stream_rpc_method_handler(stream),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)  # noqa: T201  (this is how its parent learns it)
    await server.wait_for_termination()


if __name__ == "__main__":
    with contextlib.suppress(ImportError):
        # The fastest loop that semserve could use too, so that the bar is not too low.
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(_serve(bytes.fromhex(sys.argv[1])))
