"""Callers who send without an end and read nothing: what they can make the server hold."""

from __future__ import annotations

import asyncio
import contextlib
import itertools

import grpc
from semserve.v1.embedding_pb2 import EmbedRequest, StreamEmbedRequest
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub

from chaos.answers import Answers
from chaos.bystanders import bystanders
from chaos.client import OWN_CONNECTION
from chaos.server import Server
from chaos.tally import Fate

READERS = 20
TEXTS = 8
"""Texts of a message, so few that the messages of all readers fit into the queue."""
STREAM_REQUESTS = 64
"""The server's default bound of a stream's messages in flight."""
MESSAGE_BYTES = 200 * TEXTS
"""More than a message, its encodings and its answer have."""
WINDOWS = 4 * 2**20
"""What the server's gRPC may hold of a connection: a window that grows with what the line carries,
seen to be 3 MB on a loopback, and 64 kB where the option `grpc.http2.bdp_probe` is 0."""
FIXED_WINDOW = (("grpc.http2.bdp_probe", 0),)
"""The reader's own gRPC takes no more than HTTP/2's 64 kB, whatever the line could carry."""
STEADY = 3
"""Looks in a row that have found no growth."""


async def read_nothing(server: Server, answers: Answers) -> dict[str, object]:
    """Let readers stall, and tell how much memory they cost while others are served."""
    before = server.process.resident_bytes()
    async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        writing = []
        for _ in range(READERS):
            channel = await stack.enter_async_context(
                grpc.aio.insecure_channel(server.address, options=(*OWN_CONNECTION, *FIXED_WINDOW))
            )
            writing.append(tasks.create_task(_write(channel)))
        async with bystanders(server, answers) as others:
            peak, steady = 0, 0
            while steady < STEADY:
                await others.wait_for(50)
                now = server.process.resident_bytes()
                steady = steady + 1 if now <= peak else 0
                peak = max(peak, now)
        stalled = sum(not one.done() for one in writing)
        for one in writing:
            one.cancel()
    bound = READERS * (STREAM_REQUESTS * MESSAGE_BYTES + WINDOWS)
    return {
        "what": f"{READERS} readers who read nothing",
        "kept": peak - before < bound and stalled == READERS and not others.tally.faults,
        "stalled": stalled,
        "others_right": others.tally.fates[Fate.RIGHT],
        "grown_megabytes": round((peak - before) / 1e6, 1),
        "bound_megabytes": round(bound / 1e6, 1),
    }


async def _write(channel: grpc.aio.Channel) -> None:
    call = EmbeddingServiceStub(channel).StreamEmbed()
    for number in itertools.count():
        texts = [f"{number} cats on a mat"] * TEXTS
        await call.write(StreamEmbedRequest(id=str(number), request=EmbedRequest(texts=texts)))
