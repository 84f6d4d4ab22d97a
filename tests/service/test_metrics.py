"""What is counted is what happened, cause by cause; and no caller can make a series of its own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from functools import partial

import grpc
import pytest
from conftest import InProcess
from fakes import Failing
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub
from prometheus_client import CollectorRegistry, generate_latest
from refusals import refusal
from semserve.v1.common_pb2 import TRUNCATION_NONE
from semserve.v1.embedding_pb2 import EmbedRequest, StreamEmbedRequest
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub
from semserve_server.observability.metrics import Metrics

EMBEDDING = "semserve.v1.EmbeddingService"
NAME = "tiny-embed"

Value = Callable[..., float]


@pytest.fixture
def stub(service: InProcess) -> EmbeddingServiceStub:
    return EmbeddingServiceStub(service.channel)


@pytest.fixture
def registry(service: InProcess) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(Metrics(service.recorder, service.models))
    return registry


@pytest.fixture
def value(registry: CollectorRegistry) -> Value:
    """One sample's present value; 0 where there is none yet."""

    def sample(name: str, **labels: str) -> float:
        return registry.get_sample_value(f"semserve_{name}", labels) or 0.0

    return sample


def requests(value: Value, code: str, method: str = "Embed") -> float:
    return value("requests_total", service=EMBEDDING, method=method, code=code)


def unknown_methods(value: Value) -> float:
    labels = {"service": "semserve", "method": "unknown", "code": "UNIMPLEMENTED"}
    return value("requests_total", **labels)


@pytest.fixture
async def held(
    service: InProcess, stub: EmbeddingServiceStub
) -> AsyncIterator[asyncio.Task[object]]:
    """A call whose run does not return before the test releases it."""
    service.embedder.hold()
    running = asyncio.ensure_future(stub.Embed(EmbedRequest(texts=["first"])))
    await asyncio.to_thread(service.embedder.wait_for_run)
    yield running
    service.embedder.release()
    await running


async def until(value: Callable[[], float], wanted: float) -> None:
    """Let the event loop turn until a value is there; the test's own timeout bounds it.

    A caller may have its status a moment before the server has counted it.
    """
    while value() != wanted:
        await asyncio.to_thread(lambda: None)


async def test_requests_are_counted_by_their_codes(
    service: InProcess, stub: EmbeddingServiceStub, value: Value
) -> None:
    await stub.Embed(EmbedRequest(texts=["a cat"]))
    await stub.Embed(EmbedRequest(texts=["a dog", "two dogs"]))
    await refusal(stub.Embed(EmbedRequest(texts=[])))
    await refusal(stub.Embed(EmbedRequest(texts=["a cat"], model="nobody")))
    await refusal(service.channel.unary_unary(f"/{EMBEDDING}/Embed")(b"\xff\xff"))
    for code, number in {"OK": 2, "INVALID_ARGUMENT": 2, "NOT_FOUND": 1}.items():
        await until(partial(requests, value, code), number)
    assert 5 == value("request_duration_seconds_count", service=EMBEDDING, method="Embed")
    assert 0 < value("request_duration_seconds_sum", service=EMBEDDING, method="Embed")
    assert 0 == value("requests_in_flight", service=EMBEDDING, method="Embed")


async def test_each_message_of_a_stream_is_a_request(
    stub: EmbeddingServiceStub, value: Value
) -> None:
    labels = {"service": EMBEDDING, "method": "StreamEmbed"}
    call = stub.StreamEmbed()
    for text in ("a cat", "", "a dog"):
        await call.write(StreamEmbedRequest(request=EmbedRequest(texts=[text])))
        await call.read()
    assert 1 == value("streams_open", **labels)
    await call.done_writing()
    assert grpc.StatusCode.OK == await call.code()
    assert 2 == requests(value, "OK", "StreamEmbed")
    assert 1 == requests(value, "INVALID_ARGUMENT", "StreamEmbed")
    await until(partial(value, "streams_total", code="OK", **labels), 1)
    assert 0 == value("streams_open", **labels)


async def test_a_worker_is_idle_while_a_text_waits_for_it(
    stub: EmbeddingServiceStub, value: Value
) -> None:
    """A lone text waits for nothing but the hand-over to the worker."""
    assert 0 == value("worker_idle_seconds_total", model=NAME)
    await stub.Embed(EmbedRequest(texts=["a cat"]))
    waited = value("queue_duration_seconds_sum", model=NAME)
    assert waited > 0
    assert waited == pytest.approx(value("worker_idle_seconds_total", model=NAME))


async def test_tokens_and_padding_are_those_of_the_batches(
    stub: EmbeddingServiceStub, value: Value
) -> None:
    answer = await stub.Embed(EmbedRequest(texts=["a", "a much longer text than that one"]))
    assert answer.usage.token_count == value("tokens_total", model=NAME)
    assert answer.usage.padded_token_count == value("padded_tokens_total", model=NAME)
    assert 2 == value("batch_entries_sum", model=NAME)
    batches = value("batch_entries_count", model=NAME)
    assert batches == value("run_duration_seconds_count", model=NAME)
    for stage in ("tokenize", "queue"):
        assert 1 == value(f"{stage}_duration_seconds_count", model=NAME)


async def test_the_queue_is_told_as_it_stands(
    held: asyncio.Task[object], stub: EmbeddingServiceStub, value: Value
) -> None:
    waiting = asyncio.ensure_future(stub.Embed(EmbedRequest(texts=["a cat", "a dog"])))
    await until(lambda: value("queue_entries", model=NAME), 2)
    assert 256 == value("queue_entries_limit", model=NAME)
    assert 1 == value("batch_workers_busy", model=NAME) == value("batch_workers", model=NAME)
    assert 2 == value("requests_in_flight", service=EMBEDDING, method="Embed")
    assert not held.done()
    waiting.cancel()
    await until(lambda: value("queue_entries", model=NAME), 0)
    assert 2 == value("entries_dropped_total", model=NAME, cause="cancelled")
    await until(lambda: requests(value, "CANCELLED"), 1)


async def test_what_the_queue_cannot_hold_is_counted_as_shed(
    held: asyncio.Task[object], stub: EmbeddingServiceStub, value: Value
) -> None:
    waiting = asyncio.ensure_future(stub.Embed(EmbedRequest(texts=["a cat"] * 200)))
    await until(lambda: value("queue_entries", model=NAME), 200)
    await refusal(stub.Embed(EmbedRequest(texts=["a dog"] * 57)))
    assert not held.done()
    await until(lambda: requests(value, "RESOURCE_EXHAUSTED"), 1)
    assert 1 == value("requests_rejected_total", model=NAME, cause="queue_entries")
    waiting.cancel()


async def test_a_run_that_fails_is_counted(
    service: InProcess, stub: EmbeddingServiceStub, value: Value
) -> None:
    service.embedder.runner = Failing()
    await refusal(stub.Embed(EmbedRequest(texts=["a cat"])))
    await until(lambda: requests(value, "INTERNAL"), 1)
    assert 1 == value("entries_failed_total", model=NAME)


async def test_methods_that_there_are_not_are_counted_as_one(
    service: InProcess, value: Value
) -> None:
    for path in ("/no/Such", f"/{EMBEDDING}/Nothing", "/", "//"):
        refused = await refusal(service.channel.unary_unary(path)(b"\xff"))
        assert grpc.StatusCode.UNIMPLEMENTED == refused.code
    stream = service.channel.stream_stream("/no/Such")()
    assert grpc.StatusCode.UNIMPLEMENTED == await stream.code()
    await until(partial(unknown_methods, value), 5)


async def test_health_and_reflection_are_counted_as_every_rpc(
    service: InProcess, value: Value
) -> None:
    health = HealthStub(service.channel)
    labels = {"service": "grpc.health.v1.Health"}
    await health.Check(HealthCheckRequest())
    await refusal(health.Check(HealthCheckRequest(service="nobody")))
    for code in ("OK", "NOT_FOUND"):
        found = partial(value, "requests_total", **labels, method="Check", code=code)
        await until(found, 1)
    watching = health.Watch(HealthCheckRequest())
    await watching.read()
    assert 1 == value("streams_open", **labels, method="Watch")
    watching.cancel()
    await until(partial(value, "streams_open", **labels, method="Watch"), 0)
    assert 1 == value("streams_total", **labels, method="Watch", code="CANCELLED")
    for name in ("v1", "v1alpha"):
        service_name = f"grpc.reflection.{name}.ServerReflection"
        path = f"/{service_name}/ServerReflectionInfo"
        call = service.channel.stream_stream(path)(iter([b""]))
        assert 1 == len([answer async for answer in call])
        labels = {"service": service_name, "method": "ServerReflectionInfo", "code": "OK"}
        await until(partial(value, "streams_total", **labels), 1)


async def test_a_message_that_grpc_itself_refuses_is_counted_by_its_method(
    stub: EmbeddingServiceStub, value: Value
) -> None:
    """The fixture's server takes messages of 1,000,000 bytes."""
    labels = {"service": EMBEDDING, "method": "Embed"}
    await stub.Embed(EmbedRequest(texts=["a cat"]))
    for number in (1, 2):
        refused = await refusal(stub.Embed(EmbedRequest(texts=["a" * 1_100_000])))
        assert grpc.StatusCode.RESOURCE_EXHAUSTED == refused.code
        await until(partial(value, "requests_not_received_total", **labels), number)
    await stub.Embed(EmbedRequest(texts=["a cat"]))
    await until(partial(requests, value, "OK"), 2)
    assert 2 == value("requests_not_received_total", **labels)


async def test_a_stream_that_a_message_too_large_ends_is_not_counted_as_ok(
    stub: EmbeddingServiceStub, value: Value
) -> None:
    labels = {"service": EMBEDDING, "method": "StreamEmbed"}
    call = stub.StreamEmbed()
    await call.write(StreamEmbedRequest(request=EmbedRequest(texts=["a" * 1_100_000])))
    assert grpc.StatusCode.RESOURCE_EXHAUSTED == await call.code()
    await until(partial(value, "streams_total", **labels, code="CANCELLED"), 1)
    assert 0 == value("streams_open", **labels)


async def test_nothing_that_a_caller_sends_becomes_a_label(
    service: InProcess, stub: EmbeddingServiceStub, registry: CollectorRegistry, value: Value
) -> None:
    await refusal(stub.Embed(EmbedRequest(texts=[])))
    await refusal(stub.Embed(EmbedRequest(texts=["a"], model="nobody")))
    await refusal(service.channel.unary_unary("/no/Such")(b""))
    await refusal(HealthStub(service.channel).Check(HealthCheckRequest(service="nobody")))
    for code in ("INVALID_ARGUMENT", "NOT_FOUND"):
        await until(partial(requests, value, code), 1)
    await until(partial(unknown_methods, value), 1)
    series = generate_latest(registry).count(b"\n")
    for mark in ("marked", "x" * 128):
        metadata = (("x-request-id", mark), ("traceparent", mark), ("user-agent", mark))
        await refusal(stub.Embed(EmbedRequest(texts=["a"], model=mark), metadata=metadata))
        await refusal(stub.Embed(EmbedRequest(texts=[mark * 4096]), metadata=metadata))
        await refusal(
            stub.Embed(EmbedRequest(texts=[f"{mark} " * 400], truncation=TRUNCATION_NONE))
        )
        await refusal(service.channel.unary_unary(f"/{EMBEDDING}/{mark}")(b""))
        await refusal(service.channel.unary_unary(f"/{mark}/Embed")(b""))
        await refusal(HealthStub(service.channel).Check(HealthCheckRequest(service=mark)))
        text = generate_latest(registry)
        assert mark.encode() not in text
        assert series == text.count(b"\n")


@pytest.mark.parametrize(
    ("address", "said"),
    [("127.0.0.1", "give HOST:PORT"), ("127.0.0.1:x", "give HOST:PORT"), ("192.0.2.1:0", "cannot")],
)
def test_an_address_for_metrics_that_cannot_be_had_is_one_line(address: str, said: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "semserve_server", "--echo", "4", "--metrics-address", address],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert 2 == ended.returncode
    (line,) = ended.stderr.splitlines()
    assert f"--metrics-address {address}: " in line
    assert said in line
