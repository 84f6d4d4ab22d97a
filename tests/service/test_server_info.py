"""What the server tells of itself and of its bundles, whatever becomes of them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest
from controlled import NAME, Controlled, add, describe, serving
from echoing import echoing
from semserve.v1 import common_pb2, model_pb2
from semserve.v1.model_pb2_grpc import ModelServiceStub
from semserve_server import __version__
from semserve_server.auth.api_key import new_key
from semserve_server.auth.key_file import add_key
from semserve_server.registry import loader

STATES = model_pb2.ModelState.Name


async def states(served: Controlled) -> dict[str, str]:
    listed = await ModelServiceStub(served.channel).ListModels(model_pb2.ListModelsRequest())
    assert [model.name for model in listed.models] == sorted(model.name for model in listed.models)
    return {model.name: STATES(model.state).removeprefix("MODEL_STATE_") for model in listed.models}


async def test_every_bundle_is_listed_with_its_state(served: Controlled, tiny_models: Path) -> None:
    assert {NAME: "READY", "tiny-nli": "READY"} == await states(served)
    await served.unload("tiny-nli")
    assert {NAME: "READY", "tiny-nli": "UNLOADED"} == await states(served)
    add(served, tiny_models, "broken")
    describe(served.directory / "broken", "no graph", model=b"no graph")
    await served.control.refresh()
    listed = await ModelServiceStub(served.channel).ListModels(model_pb2.ListModelsRequest())
    (broken,) = [model for model in listed.models if model.name == "broken"]
    assert model_pb2.MODEL_STATE_REFUSED == broken.state
    assert "broken/model.onnx: ONNX Runtime cannot load it" in broken.reason
    assert {NAME: "READY", "broken": "REFUSED", "tiny-nli": "UNLOADED"} == await states(served)
    assert "tiny-nli" == (await served.load("tiny-nli")).name
    assert "READY" == (await states(served))["tiny-nli"]


async def test_a_bundle_that_loads_is_listed_as_loading(
    served: Controlled, tiny_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    begun, go_on = asyncio.Event(), asyncio.Event()
    verify = loader.verify_golden

    def held(*arguments: object, **named: object) -> object:
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()
        return verify(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(loader, "verify_golden", held)
    add(served, tiny_models, "another")
    loading = asyncio.create_task(served.load("another"))
    await begun.wait()
    assert "LOADING" == (await states(served))["another"]
    go_on.set()
    assert model_pb2.MODEL_STATE_READY == (await loading).state
    assert "READY" == (await states(served))["another"]


async def test_the_server_tells_its_version_limits_and_defaults(directory: Path) -> None:
    async with serving(directory, allowed=False) as served:
        stub = ModelServiceStub(served.channel)
        info = await stub.GetServerInfo(model_pb2.GetServerInfoRequest())
    assert __version__ == info.version
    assert (
        model_pb2.ServerLimits(
            max_request_texts=2048,
            max_text_bytes=65_536,
            max_request_scores=1_048_576,
            max_tokenize_bytes=1_048_576,
            max_message_bytes=4_194_304,
            max_stream_requests=64,
            max_unread_bytes=268_435_456,
            max_hits=131_072,
        )
        == info.limits
    )
    assert {model_pb2.TASK_EMBEDDING: NAME, model_pb2.TASK_CLASSIFICATION: "tiny-nli"} == {
        default.task: default.model for default in info.default_models
    }
    assert 10 == info.default_top_k
    assert not info.allow_model_control


async def test_a_key_is_told_of_its_own_models_alone(tmp_path: Path) -> None:
    keys = tmp_path / "keys.toml"
    written, key = new_key("other", models=frozenset(("something",)))
    add_key(keys, key)
    async with echoing(dimensions=8, api_key_file=keys, key=written) as server:
        stub = ModelServiceStub(server.channel)
        info = await stub.GetServerInfo(model_pb2.GetServerInfoRequest(), metadata=server.metadata)
    assert [] == list(info.default_models)
    assert 2048 == info.limits.max_request_texts


@pytest.mark.xdist_group("kinds")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "tiny-score-hypothesis-first",
            {
                "task": model_pb2.TASK_SCORE,
                "scores": model_pb2.SCORE_FUNCTION_NONE,
                "text_order": ["hypothesis", "premise"],
                "takes_pairs": True,
                "dimensions": 0,
            },
        ),
        (
            "tiny-score",
            {
                "scores": model_pb2.SCORE_FUNCTION_SIGMOID,
                "text_order": ["premise", "hypothesis"],
            },
        ),
        ("tiny-regression", {"text_order": [], "takes_pairs": False}),
        (
            "tiny-prompted",
            {
                "prompts": {"query": "query: ", "passage": "passage: ", "bare": ""},
                "default_prompt": "passage",
                "scores": model_pb2.SCORE_FUNCTION_UNSPECIFIED,
            },
        ),
        ("tiny-sided", {"sides": [common_pb2.SIDE_LEFT, common_pb2.SIDE_RIGHT]}),
        ("tiny-sparse", {"task": model_pb2.TASK_SPARSE_EMBEDDING, "default_prompt": ""}),
        ("tiny-padded-start", {"truncation": common_pb2.TRUNCATION_START}),
    ],
)
def test_a_model_tells_how_it_reads_and_answers(
    kinds_channel: grpc.Channel, name: str, expected: dict[str, object]
) -> None:
    stub = ModelServiceStub(kinds_channel)
    info = stub.GetModel(model_pb2.GetModelRequest(model=name)).model
    plain = {"prompts": dict, "text_order": list, "sides": list}
    reported = {
        field: plain.get(field, lambda one: one)(getattr(info, field)) for field in expected
    }
    assert expected == reported
    assert model_pb2.MODEL_STATE_READY == info.state
