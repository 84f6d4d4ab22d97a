"""Which keys may load and unload models, of a server that lets anybody do that."""

from __future__ import annotations

from collections.abc import Awaitable
from pathlib import Path

import grpc
from conftest import running_server
from refusals import refusal
from semserve.v1.model_pb2 import UnloadModelRequest
from semserve.v1.model_pb2_grpc import ModelServiceStub
from semserve_server.auth.api_key import new_key
from semserve_server.auth.key_file import add_key


async def test_models_are_loaded_and_unloaded_by_those_keys_alone_that_may(
    tiny_models: Path, tmp_path: Path
) -> None:
    presented = {}
    for name, models, control in (
        ("user", None, False),
        ("operator", frozenset({"tiny-nli"}), True),
    ):
        presented[name], key = new_key(name, models=models, control=control)
        add_key(tmp_path / "keys", key)
    with running_server(
        *(
            "--models",
            str(tiny_models),
            "--api-key-file",
            str(tmp_path / "keys"),
            "--allow-model-control",
        )
    ) as server:
        async with grpc.aio.insecure_channel(server.address) as channel:
            stub = ModelServiceStub(channel)

            def ask(name: str, model: str) -> Awaitable[object]:
                metadata = (("authorization", f"Bearer {presented[name]}"),)
                return stub.UnloadModel(UnloadModelRequest(model=model), metadata=metadata)

            for name, model, why in (
                ("user", "tiny-nli", "may not load and unload models"),
                ("operator", "tiny-embed", "may not use this model"),
            ):
                refused = await refusal(ask(name, model))
                assert grpc.StatusCode.PERMISSION_DENIED == refused.code
                assert why in refused.message
            await ask("operator", "tiny-nli")
            assert grpc.StatusCode.NOT_FOUND == (await refusal(ask("operator", "tiny-nli"))).code
