"""Who calls without a key, or with another's, gets nothing; over real gRPC."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from conftest import InProcess, in_process
from google.rpc import error_details_pb2
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub
from health_list import list_health
from refusals import refusal
from semserve.v1.classification_pb2 import ClassifyPair, ClassifyRequest
from semserve.v1.classification_pb2_grpc import ClassificationServiceStub
from semserve.v1.embedding_pb2 import EmbedRequest, StreamEmbedRequest
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub
from semserve.v1.model_pb2 import GetModelRequest, ListModelsRequest, TokenizeRequest
from semserve.v1.model_pb2_grpc import ModelServiceStub
from semserve.v1.similarity_pb2 import RankRequest
from semserve.v1.similarity_pb2_grpc import SimilarityServiceStub
from semserve_server.auth.api_key import new_key
from semserve_server.auth.key_store import KeyStore
from semserve_server.frontend.security import Security

EMBED = EmbedRequest(texts=["a cat"])


class Clock:
    """Stands still until it is told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True, slots=True)
class Guarded:
    """A server that wants keys: one for everything, one for a model, one of ten tokens a second."""

    server: InProcess
    path: Path
    clock: Clock
    keys: dict[str, str]

    def metadata(self, name: str) -> tuple[tuple[str, str], ...]:
        return (("authorization", f"Bearer {self.keys[name]}"),)


@pytest.fixture
async def guarded(tiny_models: Path, tmp_path: Path) -> AsyncIterator[Guarded]:
    path, clock = tmp_path / "keys", Clock()
    made = {
        "all": new_key("all"),
        "nli": new_key("nli", models=frozenset({"tiny-nli"})),
        "slow": new_key("slow", tokens_per_second=10),
    }
    path.write_text("".join(f"{key}\n" for _, key in made.values()))
    security = Security(key_store=KeyStore(path, clock=clock))
    async with in_process(tiny_models, security=security) as server:
        yield Guarded(server, path, clock, {name: one for name, (one, _) in made.items()})


def wrong(key: str) -> Iterator[tuple[tuple[str, str], ...]]:
    """Yield metadata that is nobody's, some of it nearly somebody's."""
    yield ()
    for value in (key, f"Bearer {key[:-1]}", f"Bearer {key}x", "Bearer nobody.x", "Bearer ", ""):
        yield (("authorization", value),)
    yield (("authorization", f"Basic {key}"),)
    yield (("authorization", f"Bearer {key}"), ("authorization", "Bearer x"))
    yield (("api-key", key),)


async def test_a_key_opens_every_service(guarded: Guarded) -> None:
    metadata = guarded.metadata("all")
    channel = guarded.server.channel
    embedded = await EmbeddingServiceStub(channel).Embed(EMBED, metadata=metadata)
    assert 1 == len(embedded.results)
    lower = (("authorization", f"bearer {guarded.keys['all']}"),)
    listed = await ModelServiceStub(channel).ListModels(ListModelsRequest(), metadata=lower)
    assert ["tiny-embed", "tiny-nli"] == [model.name for model in listed.models]
    call = EmbeddingServiceStub(channel).StreamEmbed(metadata=metadata)
    await call.write(StreamEmbedRequest(id="1", request=EMBED))
    assert (await call.read()).HasField("response")
    await call.done_writing()
    assert grpc.StatusCode.OK == await call.code()


async def test_without_a_key_and_with_a_wrong_one_the_answer_is_the_same(guarded: Guarded) -> None:
    stub = EmbeddingServiceStub(guarded.server.channel)
    reported = set()
    for metadata in wrong(guarded.keys["all"]):
        refused = await refusal(stub.Embed(EMBED, metadata=metadata))
        assert grpc.StatusCode.UNAUTHENTICATED == refused.code, metadata
        reported.add(refused.message)
    (message,) = reported
    assert "authorization: Bearer KEY" in message


async def test_a_stream_is_refused_at_its_opening(guarded: Guarded) -> None:
    """Nothing has been sent on it yet."""
    call = EmbeddingServiceStub(guarded.server.channel).StreamEmbed()
    refused = await refusal(call.read())
    assert grpc.StatusCode.UNAUTHENTICATED == refused.code


async def test_a_stranger_learns_not_even_which_methods_there_are(guarded: Guarded) -> None:
    for path in ("/semserve.v1.Nobody/No", "/", "/no", "//", "no"):
        refused = await refusal(guarded.server.channel.unary_unary(path)(b""))
        assert grpc.StatusCode.UNAUTHENTICATED == refused.code, path
    known = guarded.server.channel.unary_unary("/semserve.v1.Nobody/No")
    refused = await refusal(known(b"", metadata=guarded.metadata("all")))
    assert grpc.StatusCode.UNIMPLEMENTED == refused.code


async def test_a_key_for_another_model_is_refused_before_the_model_is_looked_for(
    guarded: Guarded,
) -> None:
    metadata = guarded.metadata("nli")
    embedding = EmbeddingServiceStub(guarded.server.channel)
    for name in ("tiny-embed", "no-such-model"):
        request = EmbedRequest(model=name, texts=["a cat"])
        refused = await refusal(embedding.Embed(request, metadata=metadata))
        assert grpc.StatusCode.PERMISSION_DENIED == refused.code
        assert "the key 'nli' may not use this model" == refused.message
    model = ModelServiceStub(guarded.server.channel)
    refused = await refusal(model.GetModel(GetModelRequest(model="tiny-embed"), metadata=metadata))
    assert grpc.StatusCode.PERMISSION_DENIED == refused.code
    request = TokenizeRequest(model="tiny-embed", texts=["a cat"])
    refused = await refusal(model.Tokenize(request, metadata=metadata))
    assert grpc.StatusCode.PERMISSION_DENIED == refused.code
    call = embedding.StreamEmbed(metadata=metadata)
    await call.write(
        StreamEmbedRequest(id="1", request=EmbedRequest(model="tiny-embed", texts=["a cat"]))
    )
    assert grpc.StatusCode.PERMISSION_DENIED.value[0] == (await call.read()).error.code
    call.cancel()


async def test_a_key_sees_its_own_models_alone(guarded: Guarded) -> None:
    metadata = guarded.metadata("nli")
    channel = guarded.server.channel
    listed = await ModelServiceStub(channel).ListModels(ListModelsRequest(), metadata=metadata)
    assert ["tiny-nli"] == [model.name for model in listed.models]
    got = await ModelServiceStub(channel).GetModel(GetModelRequest(), metadata=metadata)
    assert "tiny-nli" == got.model.name
    pair = ClassifyPair(premise="a cat", hypothesis="a dog")
    request = ClassifyRequest(pairs=[pair])
    answer = await ClassificationServiceStub(channel).Classify(request, metadata=metadata)
    assert 1 == len(answer.results)
    refused = await refusal(
        SimilarityServiceStub(channel).Rank(
            RankRequest(query="a", documents=["b"]), metadata=metadata
        )
    )
    assert {"model": "no loaded model is an embedding model"} == refused.fields


async def test_a_keys_rate_holds_for_calls_and_streams_alike(guarded: Guarded) -> None:
    """Ten tokens a second; a request of 21 puts the key 11 into debt: 1.1 s."""
    metadata = guarded.metadata("slow")
    channel = guarded.server.channel
    stub = EmbeddingServiceStub(channel)
    long = EmbedRequest(texts=["a cat and a dog and a cow and a pig and a hen and a fox"])
    answer = await stub.Embed(long, metadata=metadata)
    debt = answer.usage.token_count - 10
    assert debt > 0
    refused = await refusal(stub.Embed(EMBED, metadata=metadata))
    assert grpc.StatusCode.RESOURCE_EXHAUSTED == refused.code
    assert debt / 10 == pytest.approx(refused.retry_seconds)
    assert str(debt * 100) == refused.trailers["grpc-retry-pushback-ms"]

    call = stub.StreamEmbed(metadata=metadata)
    await call.write(StreamEmbedRequest(id="1", request=EMBED))
    error = (await call.read()).error
    info = error_details_pb2.RetryInfo()
    assert grpc.StatusCode.RESOURCE_EXHAUSTED.value[0] == error.code
    assert error.details[0].Unpack(info)
    assert debt / 10 == pytest.approx(info.retry_delay.ToMilliseconds() / 1000)

    assert await stub.Embed(EMBED, metadata=guarded.metadata("all"))
    guarded.clock.now += debt / 10
    await call.write(StreamEmbedRequest(id="2", request=EMBED))
    assert (await call.read()).HasField("response")
    await call.done_writing()
    assert grpc.StatusCode.OK == await call.code()


async def test_what_the_queue_refuses_is_not_charged(guarded: Guarded) -> None:
    """The fixture's queue holds 256 texts; 200 wait when 100 more are refused."""
    stub = EmbeddingServiceStub(guarded.server.channel)
    guarded.server.embedder.hold()
    anybody = guarded.metadata("all")
    waiting = [asyncio.ensure_future(stub.Embed(EMBED, metadata=anybody))]
    await asyncio.to_thread(guarded.server.embedder.wait_for_run)
    request = EmbedRequest(texts=["a cat"] * 200)
    waiting.append(asyncio.ensure_future(stub.Embed(request, metadata=anybody)))
    # A call that is refused on admission is answered after those before it have been queued.
    await refusal(stub.Embed(EmbedRequest(), metadata=anybody))
    request = EmbedRequest(texts=["a cat"] * 100)
    for _ in range(3):
        refused = await refusal(stub.Embed(request, metadata=guarded.metadata("slow")))
        assert "the queue holds 200 of at most 256" in refused.message
    # A key learns nothing of the load of a model that it may not use.
    refused = await refusal(stub.Embed(request, metadata=guarded.metadata("nli")))
    assert {"model": "no loaded model is an embedding model"} == refused.fields
    guarded.server.embedder.release()
    await asyncio.gather(*waiting)


async def test_a_key_that_is_taken_out_of_the_file_is_refused_on_open_streams_too(
    guarded: Guarded,
) -> None:
    stub = EmbeddingServiceStub(guarded.server.channel)
    call = stub.StreamEmbed(metadata=guarded.metadata("slow"))
    await call.write(StreamEmbedRequest(id="1", request=EMBED))
    assert (await call.read()).HasField("response")
    lines = guarded.path.read_text().splitlines(keepends=True)
    guarded.path.write_text("".join(line for line in lines if not line.startswith("slow")))
    guarded.clock.now += 2
    await call.write(StreamEmbedRequest(id="2", request=EMBED))
    assert grpc.StatusCode.UNAUTHENTICATED.value[0] == (await call.read()).error.code
    refused = await refusal(stub.Embed(EMBED, metadata=guarded.metadata("slow")))
    assert grpc.StatusCode.UNAUTHENTICATED == refused.code
    assert await stub.Embed(EMBED, metadata=guarded.metadata("all"))
    call.cancel()


async def test_health_is_open_and_reflection_closed_unless_asked_otherwise(
    guarded: Guarded, tiny_models: Path
) -> None:
    assert await HealthStub(guarded.server.channel).Check(HealthCheckRequest())
    assert grpc.StatusCode.UNAUTHENTICATED == await reflect(guarded.server.channel)
    key_store = KeyStore(guarded.path)
    security = Security(key_store=key_store, auth_exempt_health=False, auth_exempt_reflection=True)
    async with in_process(tiny_models, security=security) as server:
        refused = await refusal(HealthStub(server.channel).Check(HealthCheckRequest()))
        assert grpc.StatusCode.UNAUTHENTICATED == refused.code
        assert grpc.StatusCode.OK == await reflect(server.channel)


async def test_names_of_models_are_listed_only_to_keys_that_may_use_them(
    guarded: Guarded,
) -> None:
    channel = guarded.server.channel

    async def models(metadata: tuple[tuple[str, str], ...]) -> set[str]:
        return {name for name in await list_health(channel, metadata) if name.startswith("tiny")}

    assert set() == await models(())
    for metadata in wrong(guarded.keys["all"]):
        assert set() == await models(metadata)
    assert {"tiny-nli"} == await models(guarded.metadata("nli"))
    assert {"tiny-embed", "tiny-nli"} == await models(guarded.metadata("all"))
    assert {"", "semserve.v1.EmbeddingService"} <= set(await list_health(channel))


async def reflect(channel: grpc.aio.Channel) -> grpc.StatusCode:
    call = ServerReflectionStub(channel).ServerReflectionInfo(
        iter([ServerReflectionRequest(list_services="")])
    )
    try:
        async for _ in call:
            pass
    except grpc.aio.AioRpcError as error:
        return error.code()
    return await call.code()


async def test_no_log_and_no_answer_holds_a_key(
    guarded: Guarded, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    stub = EmbeddingServiceStub(guarded.server.channel)
    reported = []
    for metadata in (*wrong(guarded.keys["all"]), guarded.metadata("nli")):
        request = EmbedRequest(model="tiny-embed", texts=["a cat"])
        reported.append(repr(await refusal(stub.Embed(request, metadata=metadata))))
    secrets = [key.partition(".")[2] for key in guarded.keys.values()]
    digests = [line.split()[1] for line in guarded.path.read_text().splitlines()]
    for secret in (*secrets, *digests):
        assert secret[:20] not in caplog.text
        assert not [one for one in reported if secret[:20] in one]
