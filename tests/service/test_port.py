"""Health, reflection, and that every method of the schema is answered."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from conftest import SMALL_LIMITS, InProcess
from google.protobuf import descriptor_pool, message_factory
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub
from health_list import list_health
from refusals import refusal
from semserve.v1 import classification_pb2, embedding_pb2, model_pb2, score_pb2, similarity_pb2
from semserve.v1.embedding_pb2 import EmbedRequest
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub
from semserve.v1.model_pb2 import ListModelsRequest
from semserve.v1.model_pb2_grpc import ModelServiceStub
from semserve_server.frontend.grpc_server import GrpcServer
from semserve_server.frontend.reflection import REFLECTION
from semserve_server.registry.registry import ModelRegistry
from semserve_server.services.validation import Limits

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
HEALTH = "grpc.health.v1.Health"
FILES = (embedding_pb2, classification_pb2, similarity_pb2, score_pb2, model_pb2)


async def test_health_is_told_for_the_server_and_each_model(service: InProcess) -> None:
    health = HealthStub(service.channel)
    for name in ("", "tiny-embed", "tiny-nli"):
        answer = await health.Check(health_pb2.HealthCheckRequest(service=name))
        assert SERVING == answer.status
    refused = await refusal(health.Check(health_pb2.HealthCheckRequest(service="nobody")))
    assert grpc.StatusCode.NOT_FOUND == refused.code


async def test_watch_tells_the_change_when_the_server_drains(service: InProcess) -> None:
    watch = HealthStub(service.channel).Watch(health_pb2.HealthCheckRequest(service="tiny-nli"))
    assert SERVING == (await watch.read()).status
    service.port.set_not_serving()
    assert NOT_SERVING == (await watch.read()).status


async def test_a_server_that_is_not_warm_says_so() -> None:
    port = GrpcServer(ModelRegistry(), Limits(max_texts=1, max_text_bytes=10), SMALL_LIMITS)
    number = await port.open("127.0.0.1:0")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{number}") as channel:
        for name in ("", "semserve.v1.EmbeddingService"):
            answer = await HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=name))
            assert NOT_SERVING == answer.status
        refused = await refusal(EmbeddingServiceStub(channel).Embed(EmbedRequest(texts=["a"])))
        assert (grpc.StatusCode.UNAVAILABLE, "the server is starting") == (
            refused.code, refused.message,
        )  # fmt: skip
        refused = await refusal(ModelServiceStub(channel).ListModels(ListModelsRequest()))
        assert grpc.StatusCode.UNAVAILABLE == refused.code
    await port.drain(0)


async def test_every_method_of_the_schema_is_answered(service: InProcess) -> None:
    """A method without a handler would be UNIMPLEMENTED."""
    for file in FILES:
        for descriptor in file.DESCRIPTOR.services_by_name.values():
            for method in descriptor.methods:
                path = f"/{descriptor.full_name}/{method.name}"
                if method.client_streaming:
                    call = service.channel.stream_stream(path)(iter([b""]))
                    await call.read()
                else:
                    call = service.channel.unary_unary(path)(b"")
                    await asyncio.wait([asyncio.ensure_future(call.code())])
                assert grpc.StatusCode.UNIMPLEMENTED != await call.code(), path


@pytest.mark.parametrize("method", ["Check", "List", "Watch"])
async def test_bytes_that_are_no_question_of_health_are_an_invalid_argument(
    service: InProcess, method: str
) -> None:
    """GRPC's own registration answers them with UNKNOWN, and a traceback in the log."""
    call = service.channel.unary_stream(f"/grpc.health.v1.Health/{method}")(b"\xff")
    refused = await refusal(call.read())
    assert grpc.StatusCode.INVALID_ARGUMENT == refused.code


@pytest.mark.parametrize("name", REFLECTION)
async def test_bytes_that_are_no_question_of_reflection_are_an_invalid_argument(
    service: InProcess, name: str
) -> None:
    path = f"/{name}/ServerReflectionInfo"
    refused = await refusal(service.channel.stream_stream(path)(iter([b"\xff"])).read())
    assert grpc.StatusCode.INVALID_ARGUMENT == refused.code


async def test_reflection_finds_services_and_methods(service: InProcess) -> None:
    """Tools such as ghz ask for the file of a method, which protobuf's own pool does not know."""
    request = reflection_pb2.ServerReflectionRequest
    requests = [
        request(list_services=""),
        request(file_containing_symbol="semserve.v1.EmbeddingService.Embed"),
        request(file_containing_symbol="semserve.v1.SimilarityService"),
        request(file_containing_symbol="semserve.v1.Nobody"),
    ]
    stub = ServerReflectionStub(service.channel)
    listed, method, named, unknown = [
        answer async for answer in stub.ServerReflectionInfo(iter(requests))
    ]
    names = {entry.name for entry in listed.list_services_response.service}
    actual = {d.full_name for file in FILES for d in file.DESCRIPTOR.services_by_name.values()}
    assert actual | {"grpc.health.v1.Health", *REFLECTION} == names
    pool = descriptor_pool.DescriptorPool()
    for content in reversed(method.file_descriptor_response.file_descriptor_proto):
        pool.AddSerializedFile(content)
    assert pool.FindServiceByName("semserve.v1.EmbeddingService")
    assert named.HasField("file_descriptor_response")
    assert grpc.StatusCode.NOT_FOUND.value[0] == unknown.error_response.error_code


async def test_the_health_of_all_can_be_listed_by_the_schema_that_reflection_gives(
    service: InProcess,
) -> None:
    """As ghz and grpcurl call it; the stubs of grpcio before 1.84 do not know it."""
    request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=f"{HEALTH}.List")
    stub = ServerReflectionStub(service.channel)
    (reply,) = [reply async for reply in stub.ServerReflectionInfo(iter([request]))]
    pool = descriptor_pool.DescriptorPool()
    for content in reply.file_descriptor_response.file_descriptor_proto:
        pool.AddSerializedFile(content)
    methods = pool.FindServiceByName(HEALTH).methods_by_name
    assert {"Check", "List", "Watch"} == set(methods)
    response = message_factory.GetMessageClass(methods["List"].output_type)
    call = service.channel.unary_unary(f"/{HEALTH}/List", response_deserializer=response.FromString)
    statuses = (await call(b"")).statuses
    assert SERVING == statuses[""].status == statuses["tiny-nli"].status


@pytest.mark.parametrize("name", REFLECTION)
async def test_reflection_answers_alike_under_both_names_and_knows_itself(
    service: InProcess, name: str
) -> None:
    """As grpcurl describes a service: by its symbol, and then the files that it names."""
    kind, answer = reflection_pb2.ServerReflectionRequest, reflection_pb2.ServerReflectionResponse
    ask = service.channel.stream_stream(
        f"/{name}/ServerReflectionInfo", kind.SerializeToString, answer.FromString
    )
    request = [kind(file_containing_symbol=name), kind(file_containing_symbol=f"{name}.Nobody")]
    reply, unknown = [reply async for reply in ask(iter(request))]
    assert grpc.StatusCode.NOT_FOUND.value[0] == unknown.error_response.error_code
    pool = descriptor_pool.DescriptorPool()
    for content in reply.file_descriptor_response.file_descriptor_proto:
        pool.AddSerializedFile(content)
    service_found = pool.FindServiceByName(name)
    assert ["ServerReflectionInfo"] == [method.name for method in service_found.methods]
    (by_name,) = [
        reply async for reply in ask(iter([kind(file_by_filename=service_found.file.name)]))
    ]
    assert reply.file_descriptor_response == by_name.file_descriptor_response


async def test_health_is_told_for_each_service_by_its_models(service: InProcess) -> None:
    """As clients with health checking ask: `healthCheckConfig.serviceName`."""
    health = HealthStub(service.channel)

    async def told() -> dict[str, int]:
        return await list_health(service.channel)

    actual = [d.full_name for file in FILES for d in file.DESCRIPTOR.services_by_name.values()]
    unserved = "semserve.v1.ScoreService"  # no model of that task is loaded
    serving = {"", "tiny-embed", "tiny-nli", *actual} - {unserved}
    assert {**dict.fromkeys(serving, SERVING), unserved: NOT_SERVING} == await told()
    for name in serving:
        answer = await health.Check(health_pb2.HealthCheckRequest(service=name))
        assert SERVING == answer.status
    embedder, _ = service.engines
    (worker, *_) = embedder.workers
    worker.busy_since, worker.stalled = 0.0, True
    service.models.on_change()
    embedding = {"semserve.v1.EmbeddingService", "semserve.v1.SimilarityService"}
    lost = {"", "tiny-embed", unserved, *embedding}
    assert lost == {name for name, status in (await told()).items() if status == NOT_SERVING}
    worker.busy_since, worker.stalled = None, False
    service.models.on_change()
    service.models.remove("tiny-nli")
    lost = {"tiny-nli", unserved, "semserve.v1.ClassificationService"}
    assert lost == {name for name, status in (await told()).items() if status == NOT_SERVING}
    service.port.set_not_serving()
    assert {NOT_SERVING} == set((await told()).values())


async def test_whoever_calls_while_the_server_drains_is_told_so(service: InProcess) -> None:
    """By the server itself: gRPC would cancel the call, which nobody tries again."""
    stub = EmbeddingServiceStub(service.channel)
    service.embedder.hold()
    admitted = asyncio.ensure_future(stub.Embed(EmbedRequest(texts=["a cat"])))
    await asyncio.to_thread(service.embedder.wait_for_run)
    draining = asyncio.create_task(service.port.drain(30))
    await asyncio.sleep(0)  # the drain begins
    refused = await refusal(stub.Embed(EmbedRequest(texts=["a dog"])))
    assert (grpc.StatusCode.UNAVAILABLE, "the server is stopping") == (
        refused.code,
        refused.message,
    )
    service.embedder.release()
    assert 1 == len((await admitted).results)
    await draining


async def test_streams_of_health_and_reflection_past_their_bound_are_refused(
    service: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("semserve_server.rpc.drainable_streams.MAX_OPEN", 3)
    stub = HealthStub(service.channel)
    watches = [stub.Watch(health_pb2.HealthCheckRequest()) for _ in range(3)]
    for watch in watches:
        await watch.read()
    one_more = stub.Watch(health_pb2.HealthCheckRequest())
    refused = await refusal(one_more.read())
    assert grpc.StatusCode.RESOURCE_EXHAUSTED == refused.code
    assert 5.0 == refused.retry_seconds
    reflected = ServerReflectionStub(service.channel).ServerReflectionInfo()
    assert grpc.StatusCode.RESOURCE_EXHAUSTED == (await refusal(reflected.read())).code
    for watch in watches:
        watch.cancel()
    while SERVING != await read_or_none(stub):
        pass


async def read_or_none(stub: HealthStub) -> int | None:
    """Return the first word of a new watch, or None where it is refused."""
    watch = stub.Watch(health_pb2.HealthCheckRequest())
    try:
        return (await watch.read()).status
    except grpc.aio.AioRpcError:
        return None
    finally:
        watch.cancel()


async def test_reflection_has_a_bound_of_its_own(
    service: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("semserve_server.frontend.reflection.MAX_REFLECTIONS", 2)
    stub = ServerReflectionStub(service.channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    calls = [stub.ServerReflectionInfo() for _ in range(2)]
    for call in calls:
        await call.write(request)
        await call.read()
    refused = await refusal(stub.ServerReflectionInfo().read())
    assert grpc.StatusCode.RESOURCE_EXHAUSTED == refused.code
    await calls[0].done_writing()
    assert grpc.StatusCode.OK == await calls[0].code()
    again = stub.ServerReflectionInfo()
    await again.write(request)
    assert (await again.read()).HasField("list_services_response")
    assert await HealthStub(service.channel).Watch(health_pb2.HealthCheckRequest()).read()
    for call in (*calls, again):
        call.cancel()
