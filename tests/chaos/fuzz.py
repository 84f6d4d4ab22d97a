"""The fuzzer: any bytes and any shape to every method; the good call that follows works."""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import grpc
import numpy as np
import semserve.v1
from google.protobuf import descriptor_pool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc import StatusCode
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from semserve.v1.embedding_pb2 import EmbedRequest
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub

from chaos.answers import TOLERANCE
from chaos.server import Server
from chaos.shapes import requests

PATIENCE = 60.0
"""Seconds after which a call counts as lost."""
OUR_FAULT = {
    StatusCode.UNKNOWN,
    StatusCode.INTERNAL,
    StatusCode.DATA_LOSS,
    StatusCode.UNAVAILABLE,
    StatusCode.UNIMPLEMENTED,
    StatusCode.CANCELLED,
    StatusCode.DEADLINE_EXCEEDED,
}
"""Statuses that no message whatever may bring about."""


@dataclass(frozen=True, slots=True)
class Method:
    """A method of the port."""

    path: str
    request: type[Message]
    streams: bool
    """Whether its requests are a stream."""
    endless: bool
    """Whether its answers go on for ever, as those of a watch do."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What is sent to a method: one message, or for a stream several."""

    method: Method
    contents: tuple[bytes, ...]


def fuzz(server: Server, *, examples: int) -> Counter[str]:
    """Send so many odd requests; returns how often each status came.

    Raises:
        AssertionError: a status was the server's fault, or the good call after it was not answered
            as before. Hypothesis tells the smallest such request.
    """
    with grpc.insecure_channel(server.address) as channel:
        stub = EmbeddingServiceStub(channel)
        good = EmbedRequest(texts=["a cat"])
        right = stub.Embed(good, timeout=PATIENCE).results[0].embedding.values
        seen: Counter[str] = Counter()

        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(st.sampled_from(list(methods(channel))).flatmap(attempts))
        def attempt(one: Attempt) -> None:
            code = _code(channel, one)
            seen[f"{one.method.path} {code.name}"] += 1
            assert code not in OUR_FAULT, f"{one}: {code}"
            again = stub.Embed(good, timeout=PATIENCE).results[0].embedding.values
            np.testing.assert_allclose(again, right, atol=TOLERANCE)

        attempt()
    return seen


def attempts(method: Method) -> st.SearchStrategy[Attempt]:
    """Return attempts at a method."""
    contents = requests(method.request)
    sizes = (0, 4) if method.streams else (1, 1)
    several = st.lists(contents, min_size=sizes[0], max_size=sizes[1])
    return several.map(lambda several: Attempt(method, tuple(several)))


def methods(channel: grpc.Channel) -> Iterator[Method]:
    """Yield every method that the server's reflection tells of."""
    for module in pkgutil.iter_modules(semserve.v1.__path__, "semserve.v1."):
        importlib.import_module(module.name)  # so that protobuf knows their messages
    assert health_pb2.DESCRIPTOR
    ask = reflection_pb2.ServerReflectionRequest(list_services="")
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    (listed,) = stub.ServerReflectionInfo(iter([ask]), timeout=PATIENCE)
    pool = descriptor_pool.Default()
    for service in listed.list_services_response.service:
        # Reflection's v1 has the messages of v1alpha, whose Python classes alone are here.
        name = service.name.replace("reflection.v1.", "reflection.v1alpha.")
        for method in pool.FindServiceByName(name).methods:
            yield Method(
                path=f"/{service.name}/{method.name}",
                request=GetMessageClass(method.input_type),
                streams=method.client_streaming,
                endless=method.server_streaming and not method.client_streaming,
            )


def _code(channel: grpc.Channel, attempt: Attempt) -> StatusCode:
    """Send an attempt and return the status with which it ends."""
    call = channel.stream_stream(attempt.method.path)(iter(attempt.contents), timeout=PATIENCE)
    answers = 0
    try:
        for _ in call:
            answers += 1
            if attempt.method.endless:
                call.cancel()
                return StatusCode.OK
    except grpc.RpcError as error:
        return error.code()
    if attempt.method.streams and attempt.method.path.startswith("/semserve."):
        assert answers == len(attempt.contents), "each message has an answer"
    return StatusCode.OK
