"""inference.GRPCInferenceService: the Open Inference Protocol, for clients of KServe and Triton."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message
from semserve.v1 import model_pb2

from semserve_server import __version__
from semserve_server.engine import Engine
from semserve_server.errors import InvalidRequest, ModelNotFound, NotReady
from semserve_server.facades.model_infer import VERSION, ModelInfer, outputs, text_inputs
from semserve_server.facades.stubs.inference import grpc_service_pb2 as oip
from semserve_server.facades.token_ids import token_inputs
from semserve_server.registry.registry import ModelRegistry
from semserve_server.rpc import encoding as wire
from semserve_server.rpc.handlers import Context, Handlers, Streams, StreamShape, unary
from semserve_server.rpc.status import Failure
from semserve_server.services.model import ModelService
from semserve_server.services.validation import Limits


@dataclass(frozen=True, slots=True)
class InferStream(StreamShape):
    """The messages of ModelStreamInfer: each message is a request."""

    id_field: int = 3

    def request_of(self, message: Any) -> Any:
        """Return the request of a message."""
        return message

    def reply(self, name: str, response: bytes) -> bytes:  # noqa: ARG002  (the response has it)
        """Serialize the reply to a message; the response contains its id."""
        return wire.delimited(2, response)

    def error(self, name: str, failed: Failure) -> Message:
        """Create the reply to a message that failed."""
        return oip.ModelStreamInferResponse(
            error_message=f"{failed.code.name}: {failed.status.message}",
            infer_response=oip.ModelInferResponse(id=name),
        )


class OpenInferenceService:
    """Liveness, readiness, metadata, inference and the model repository of the protocol."""

    name = "inference.GRPCInferenceService"

    def __init__(
        self, models: ModelRegistry, limits: Limits, infer: ModelInfer, model: ModelService
    ) -> None:
        self._models = models
        self._limits = limits
        self._infer = infer
        self._control = model

    def handlers(self, streams: Streams) -> Handlers:
        """Return a handler for each RPC of the service."""
        most = self._limits.max_texts
        shape = InferStream(oip.ModelInferRequest, oip.ModelStreamInferResponse)
        return {
            "ServerLive": unary(oip.ServerLiveRequest, self.server_live),
            "ServerReady": unary(oip.ServerReadyRequest, self.server_ready),
            "ModelReady": unary(oip.ModelReadyRequest, self.model_ready),
            "ServerMetadata": unary(oip.ServerMetadataRequest, self.server_metadata),
            "ModelMetadata": unary(oip.ModelMetadataRequest, self.model_metadata),
            "ModelInfer": unary(oip.ModelInferRequest, self.infer, max_fields=most),
            "ModelStreamInfer": streams.handler(shape, self.infer),
            "RepositoryIndex": unary(oip.RepositoryIndexRequest, self.index),
            "RepositoryModelLoad": unary(oip.RepositoryModelLoadRequest, self.load),
            "RepositoryModelUnload": unary(oip.RepositoryModelUnloadRequest, self.unload),
        }

    async def infer(self, request: oip.ModelInferRequest, context: Context) -> bytes:
        """Return a serialized ModelInferResponse."""
        self._models.refuse_while_draining()
        engine = self._model(request.model_name, request.model_version)
        return await self._infer.infer(engine, request, context)

    async def server_live(self, _request: Message, _context: Context) -> Message:
        """Return that the process is alive."""
        return oip.ServerLiveResponse(live=True)

    async def server_ready(self, _request: Message, _context: Context) -> Message:
        """Return whether a model is loaded and none hangs."""
        try:
            engines = self._models.all()
        except NotReady:
            engines = []
        ready = bool(engines) and not any(engine.stalled for engine in engines)
        return oip.ServerReadyResponse(ready=ready)

    async def model_ready(self, request: oip.ModelReadyRequest, _context: Context) -> Message:
        """Return whether a model is loaded and does not hang."""
        try:
            engine = self._model(request.name, request.version)
        except (ModelNotFound, NotReady):
            return oip.ModelReadyResponse(ready=False)
        return oip.ModelReadyResponse(ready=not engine.stalled)

    async def server_metadata(self, _request: Message, _context: Context) -> Message:
        """Return the server's name and version."""
        return oip.ServerMetadataResponse(
            name="semserve", version=__version__, extensions=["model_repository"]
        )

    async def model_metadata(self, request: oip.ModelMetadataRequest, _context: Context) -> Message:
        """Return the tensors of a model."""
        engine = self._model(request.name, request.version)
        kind = oip.ModelMetadataResponse.TensorMetadata
        inputs = [
            kind(name=name, datatype="BYTES", shape=[-1]) for name in text_inputs(engine.manifest)
        ]
        inputs += [
            kind(name=name, datatype="INT32", shape=[-1, -1])
            for name in token_inputs(engine.manifest)
        ]
        return oip.ModelMetadataResponse(
            name=engine.name,
            versions=[VERSION],
            platform="semserve",
            inputs=inputs,
            outputs=[
                kind(name=one.name, datatype=one.datatype, shape=one.shape)
                for one in outputs(engine.manifest)
            ],
        )

    async def index(self, request: oip.RepositoryIndexRequest, context: Context) -> Message:
        """Return every bundle with its state."""
        _require_one_repository(request.repository_name)
        listed = await self._control.list_models(model_pb2.ListModelsRequest(), context)
        states = {
            model_pb2.MODEL_STATE_UNSPECIFIED: "READY",
            model_pb2.MODEL_STATE_READY: "READY",
            model_pb2.MODEL_STATE_LOADING: "LOADING",
        }
        entries = [
            oip.RepositoryIndexResponse.ModelIndex(
                name=info.name,
                version=VERSION,
                state=states.get(info.state, "UNAVAILABLE"),
                reason=info.reason,
            )
            for info in listed.models
        ]
        if request.ready:
            entries = [one for one in entries if one.state == "READY"]
        return oip.RepositoryIndexResponse(models=entries)

    async def load(self, request: oip.RepositoryModelLoadRequest, context: Context) -> Message:
        """Load a bundle, and return when its model serves requests."""
        _require_no_parameters(request.repository_name, request.parameters)
        call = model_pb2.LoadModelRequest(model=request.model_name)
        await self._control.load_model(call, context)
        return oip.RepositoryModelLoadResponse()

    async def unload(self, request: oip.RepositoryModelUnloadRequest, context: Context) -> Message:
        """Unload a model, and return when no new request can use it."""
        _require_no_parameters(request.repository_name, request.parameters)
        call = model_pb2.UnloadModelRequest(model=request.model_name)
        await self._control.unload_model(call, context)
        return oip.RepositoryModelUnloadResponse()

    def _model(self, name: str, version: str) -> Engine:
        """Return the model of that name.

        Raises:
            InvalidRequest: the name is empty.
            NotReady, ModelNotFound: as `ModelRegistry.named`, or the version is unknown.
        """
        if not name:
            raise InvalidRequest.of("model_name", "is empty: name a model")
        engine = self._models.named(name)
        if version not in ("", VERSION):
            raise ModelNotFound(f"{name!r} has no version {version[:64]!r}; it has {VERSION!r}")
        return engine


def _require_one_repository(name: str) -> None:
    if name:
        raise InvalidRequest.of("repository_name", "is given, but there is one repository")


def _require_no_parameters(repository: str, parameters: Mapping[str, Any]) -> None:
    _require_one_repository(repository)
    if parameters:
        raise InvalidRequest.of("parameters", f"{min(parameters)[:64]!r} is no known parameter")
