"""A fault of the server's own is INTERNAL, at once, and the next call is answered."""

from __future__ import annotations

from pathlib import Path

import grpc
import numpy as np
from conftest import InProcess
from fakes import Giving, Unreadable
from refusals import refusal
from semserve.v1.embedding_pb2 import EmbedRequest, StreamEmbedRequest
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub
from semserve_server.observability.recorder import Recorder
from semserve_server.repository.manifest import read_bundle
from semserve_server.rpc.handlers import unary
from semserve_server.rpc.instrumented_handlers import instrumented
from sessions import load_session

EMBED = EmbedRequest(texts=["a cat"])


async def test_calls_whose_rows_cannot_be_read_are_internal_and_do_not_wait(
    service: InProcess, tiny_models: Path
) -> None:
    stub = EmbeddingServiceStub(service.channel)
    expected = await stub.Embed(EMBED)
    service.embedder.runner = Giving(np.zeros((1, 8), np.float32).view(Unreadable))
    stream = stub.StreamEmbed()
    await stream.write(StreamEmbedRequest(id="1", request=EMBED))
    assert grpc.StatusCode.INTERNAL.value[0] == (await stream.read()).error.code
    refused = await refusal(stub.Embed(EMBED))
    assert (grpc.StatusCode.INTERNAL, "inference failed") == (refused.code, refused.message)
    service.embedder.runner = load_session(read_bundle(tiny_models / "tiny-embed"))
    assert expected == await stub.Embed(EMBED)
    await stream.write(StreamEmbedRequest(id="2", request=EMBED))
    assert expected == (await stream.read()).response
    stream.cancel()


async def test_an_answer_that_cannot_be_written_is_internal_and_tells_nothing() -> None:
    async def answer(_request: EmbedRequest, _context: object) -> object:
        return "secret cause"

    server = grpc.aio.server()
    handlers = instrumented("test.Service", {"Ask": unary(EmbedRequest, answer)}, Recorder())
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("test.Service", handlers)]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        refused = await refusal(channel.unary_unary("/test.Service/Ask")(b""))
    await server.stop(0)
    assert (grpc.StatusCode.INTERNAL, "internal error") == (refused.code, refused.message)
