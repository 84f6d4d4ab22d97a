"""A server inside the test whose bundles are copies that may change, and how they change."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub
from known_calibrations import CALIBRATIONS, keep_calibrations
from semserve.v1.embedding_pb2 import EmbedRequest, EmbedResponse
from semserve.v1.embedding_pb2_grpc import EmbeddingServiceStub
from semserve.v1.model_pb2 import (
    MODEL_STATE_READY,
    GetModelRequest,
    ListModelsRequest,
    LoadModelRequest,
    ModelInfo,
    UnloadModelRequest,
)
from semserve.v1.model_pb2_grpc import ModelServiceStub
from semserve_server.config import Config
from semserve_server.observability.recorder import Recorder
from semserve_server.registry.model_manager import ModelManager
from semserve_server.registry.registry import ModelRegistry
from semserve_server.server import new_grpc_server

NAME = "tiny-embed"


@dataclass(frozen=True, slots=True)
class Controlled:
    """A server inside the test whose bundles may change."""

    directory: Path
    models: ModelRegistry
    control: ModelManager
    channel: grpc.aio.Channel

    @property
    def bundle(self) -> Path:
        return self.directory / NAME

    async def embed(self, text: str = "hello cat", model: str = NAME) -> list[float]:
        stub = EmbeddingServiceStub(self.channel)
        response: EmbedResponse = await stub.Embed(EmbedRequest(texts=[text], model=model))
        return list(response.results[0].embedding.values)

    async def load(self, model: str = NAME) -> ModelInfo:
        stub = ModelServiceStub(self.channel)
        return (await stub.LoadModel(LoadModelRequest(model=model))).model

    async def unload(self, model: str = NAME) -> None:
        await ModelServiceStub(self.channel).UnloadModel(UnloadModelRequest(model=model))

    async def info(self, model: str = NAME) -> ModelInfo:
        stub = ModelServiceStub(self.channel)
        return (await stub.GetModel(GetModelRequest(model=model))).model

    async def names(self) -> list[str]:
        listed = await ModelServiceStub(self.channel).ListModels(ListModelsRequest())
        return [one.name for one in listed.models if one.state == MODEL_STATE_READY]

    async def health(self, service: str) -> int:
        answer = await HealthStub(self.channel).Check(HealthCheckRequest(service=service))
        return answer.status


@contextlib.asynccontextmanager
async def serving(
    directory: Path, *, allowed: bool = True, load_timeout: float = 0
) -> AsyncIterator[Controlled]:
    config = Config(
        models=directory, device="cpu", batch_workers=1, intra_op_threads=1, max_batch_tokens=512,
        load_timeout=load_timeout, calibration_cache=CALIBRATIONS,
    )  # fmt: skip
    models = ModelRegistry()
    control = ModelManager(config, models)
    models.control = control if allowed else None
    port = new_grpc_server(config, models, Recorder())
    number = await port.open("127.0.0.1:0")
    try:
        await control.start(asyncio.Event())
        async with grpc.aio.insecure_channel(f"127.0.0.1:{number}") as channel:
            yield Controlled(directory, models, control, channel)
    finally:
        await port.drain(0)
        control.close()


def describe(bundle: Path, description: str, **files: bytes) -> None:
    """Change a bundle as an export does: the manifest last, and in one step."""
    manifest = json.loads((bundle / "bundle.json").read_text())
    manifest["description"] = description
    for stem, content in files.items():
        name = f"{stem}.onnx" if stem == "model" else f"{stem}.json"
        (bundle / name).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        manifest["files"][name] = {"bytes": len(content), "sha256": digest}
        if stem == "tokenizer":
            manifest["tokenizer_sha256"] = digest
    (bundle / ".bundle.json").write_text(json.dumps(manifest))
    (bundle / ".bundle.json").replace(bundle / "bundle.json")


def add(served: Controlled, tiny_models: Path, name: str) -> None:
    """Put another bundle beside the others, of the same graph."""
    bundle = Path(shutil.copytree(tiny_models / NAME, served.directory / name))
    manifest = (bundle / "bundle.json").read_text()
    (bundle / "bundle.json").write_text(manifest.replace(f'"{NAME}"', f'"{name}"', 1))
    keep_calibrations(CALIBRATIONS, bundle)
