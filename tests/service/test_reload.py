"""Loading, replacing and unloading models while they answer."""

from __future__ import annotations

import asyncio
import gc
import shutil
import weakref
from pathlib import Path

import grpc
import pytest
from controlled import NAME, Controlled, add, describe, serving
from fakes import Held
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from refusals import refusal
from semserve.v1.embedding_pb2 import EmbedRequest, StreamEmbedRequest
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub
from semserve_server.engine import Engine
from semserve_server.repository.manifest import read_bundle
from sessions import load_session

SERVING = HealthCheckResponse.SERVING
NOT_SERVING = HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = HealthCheckResponse.SERVICE_UNKNOWN


async def test_reloading_under_load_fails_no_call_and_changes_no_answer(served: Controlled) -> None:
    expected = await served.embed()
    done = asyncio.Event()
    answered = 0

    async def call_again_and_again() -> None:
        nonlocal answered
        while not done.is_set():
            assert await served.embed() == pytest.approx(expected, abs=1e-5)
            answered += 1

    async def stream() -> None:
        call = EmbeddingServiceStub(served.channel).StreamEmbed()
        request = EmbedRequest(texts=["hello cat"], model=NAME)
        while not done.is_set():
            await call.write(StreamEmbedRequest(id="a", request=request))
            answer = await call.read()
            values = list(answer.response.results[0].embedding.values)
            assert values == pytest.approx(expected, abs=1e-5)
        await call.done_writing()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(8):
            tasks.create_task(call_again_and_again())
        tasks.create_task(stream())
        for number in range(4):
            describe(served.bundle, f"number {number}")
            assert f"number {number}" == (await served.load()).description
        done.set()
    assert answered > 8
    assert "number 3" == (await served.info()).description


async def test_a_call_that_has_found_the_old_one_is_answered_by_it_and_then_it_is_gone(
    served: Controlled, request: pytest.FixtureRequest
) -> None:
    engine, held = hold(served)
    old = asyncio.create_task(served.embed())
    await asyncio.to_thread(held.wait_for_run)
    workers = [worker.thread for worker in engine.workers if worker.kind == "run"]
    left = weakref.ref(engine), weakref.ref(held.runner)
    gc.disable()
    request.addfinalizer(gc.enable)
    describe(served.bundle, "new")
    await served.load()
    assert [] != [one for one in served.models.alive() if one is engine]
    new = await served.embed()
    assert not old.done()
    del engine
    held.release()
    assert await old == pytest.approx(new, abs=1e-5)
    assert 1 == len(held.batches)
    del held
    for worker in workers:
        await asyncio.to_thread(worker.join, 30)
        assert not worker.is_alive()
    assert [None, None] == [ref() for ref in left]
    assert 2 == len(served.models.alive())


async def test_an_unloaded_model_finishes_what_it_has_and_its_health_is_told(
    served: Controlled,
) -> None:
    health = HealthStub(served.channel)
    watch = health.Watch(HealthCheckRequest(service=NAME))
    assert SERVING == (await watch.read()).status
    _, held = hold(served)
    admitted = asyncio.create_task(served.embed())
    await asyncio.to_thread(held.wait_for_run)
    await served.unload()
    assert NOT_SERVING == (await watch.read()).status
    assert (NOT_SERVING, SERVING) == (await served.health(NAME), await served.health(""))
    refused = await refusal(served.embed())
    assert (grpc.StatusCode.NOT_FOUND, "there is no model 'tiny-embed'; loaded are: tiny-nli") == (
        refused.code, refused.message,
    )  # fmt: skip
    held.release()
    assert 16 == len(await admitted)
    assert grpc.StatusCode.NOT_FOUND == (await refusal(served.unload())).code
    assert NAME == (await served.load()).name
    assert SERVING == (await watch.read()).status
    assert 16 == len(await served.embed())


def hold(served: Controlled) -> tuple[Engine, Held]:
    """Replace the model by an engine of the same bundle whose runs are held."""
    bundle, replaced = read_bundle(served.bundle), served.models.named(NAME)
    held = Held(load_session(bundle))
    engine = Engine(
        bundle, replaced.tokenizer, held, replaced.capacity,
        variant=replaced.variant, provider=replaced.provider,
    )  # fmt: skip
    served.models.put(engine)
    held.hold()
    return engine, held


async def test_a_server_without_any_model_says_so_and_can_be_given_one(served: Controlled) -> None:
    for name in (NAME, "tiny-nli"):
        await served.unload(name)
    assert [] == await served.names()
    assert NOT_SERVING == await served.health("")
    assert grpc.StatusCode.NOT_FOUND == (await refusal(served.embed())).code
    assert grpc.StatusCode.INVALID_ARGUMENT == (await refusal(served.embed(model=""))).code
    await served.load()
    assert SERVING == await served.health("")
    assert [NAME] == await served.names()


async def test_a_new_bundle_is_served_once_it_is_loaded(
    served: Controlled, tiny_models: Path
) -> None:
    watch = HealthStub(served.channel).Watch(HealthCheckRequest(service="another"))
    assert SERVICE_UNKNOWN == (await watch.read()).status
    assert grpc.StatusCode.NOT_FOUND == (await refusal(served.load("another"))).code
    add(served, tiny_models, "another")
    assert "another" == (await served.load("another")).name
    assert SERVING == (await watch.read()).status
    assert await served.embed() == pytest.approx(await served.embed(model="another"), abs=1e-5)


async def test_an_unloaded_model_stays_so_and_a_lost_bundle_is_served_on(
    served: Controlled,
) -> None:
    await served.unload("tiny-nli")
    shutil.rmtree(served.bundle)
    await served.control.refresh(again=True)
    assert [NAME] == await served.names()
    assert 16 == len(await served.embed())
    shutil.rmtree(served.directory)
    await served.control.refresh(again=True)
    assert [NAME] == await served.names()


@pytest.mark.parametrize("name", ["../models/tiny-embed", "/etc", "tiny-embed/", ".", "none" * 100])
async def test_a_name_is_never_a_path(served: Controlled, name: str) -> None:
    assert grpc.StatusCode.NOT_FOUND == (await refusal(served.load(name))).code
    assert grpc.StatusCode.NOT_FOUND == (await refusal(served.unload(name))).code


async def test_no_name_is_refused_with_its_field(served: Controlled) -> None:
    for call in (served.load(""), served.unload("")):
        assert {"model": "is empty: name the bundle"} == (await refusal(call)).fields


async def test_a_caller_that_leaves_does_not_stop_the_load(served: Controlled) -> None:
    describe(served.bundle, "changed")
    loading = asyncio.create_task(served.control.load(NAME))
    await asyncio.sleep(0)  # the load sets out
    loading.cancel()
    await asyncio.wait([loading])
    assert "changed" == (await served.load()).description


async def test_nobody_may_load_or_unload_unless_it_is_allowed(directory: Path) -> None:
    async with serving(directory, allowed=False) as served:
        for call in (served.load(), served.unload()):
            refused = await refusal(call)
            assert grpc.StatusCode.PERMISSION_DENIED == refused.code
            assert "this server was not started with --allow-model-control" == refused.message
        assert 16 == len(await served.embed())
