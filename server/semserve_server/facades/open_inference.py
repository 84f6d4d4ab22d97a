"""inference.GRPCInferenceService: the Open Inference Protocol, for clients of KServe and Triton."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.message import Message
from semserve.v1 import classification_pb2, common_pb2, embedding_pb2, model_pb2, score_pb2

from semserve_server import __version__
from semserve_server.engine import Engine
from semserve_server.errors import InvalidRequest, ModelNotFound, NotReady
from semserve_server.facades import tensors
from semserve_server.facades.stubs.inference import grpc_service_pb2 as oip
from semserve_server.facades.token_ids import infer_tokens, token_inputs
from semserve_server.registry.registry import Models
from semserve_server.repository.manifest import Manifest
from semserve_server.rpc import encoding as wire
from semserve_server.rpc.handlers import Context, Handlers, Streams, StreamShape, unary
from semserve_server.rpc.status import Failure
from semserve_server.services.classification import ClassificationService
from semserve_server.services.embedding import EmbeddingService
from semserve_server.services.model import ModelService
from semserve_server.services.score import ScoreService
from semserve_server.services.scores import SCORES
from semserve_server.services.validation import Limits

VERSION = "1"
"""The version of every model: a bundle has one."""
_TRUNCATIONS = {
    "end": common_pb2.TRUNCATION_END,
    "start": common_pb2.TRUNCATION_START,
    "none": common_pb2.TRUNCATION_NONE,
}
_TEXT_INPUTS = {
    ("embedding", False): ("texts",),
    ("classification", False): ("texts",),
    ("classification", True): ("premise", "hypothesis"),
    ("score", False): ("texts",),
    ("score", True): ("left", "right"),
}
"""The inputs of texts by task, and by whether the model takes pairs."""


@dataclass(frozen=True, slots=True)
class InferStream(StreamShape):
    """The messages of ModelStreamInfer, which wrap nothing."""

    id_field: int = 3

    def asked(self, message: Any) -> Any:
        """Return what one message asks."""
        return message

    def reply(self, name: str, response: bytes) -> bytes:  # noqa: ARG002  (the response has it)
        """Write the answer of a message; the response has its id."""
        return wire.delimited(2, response)

    def error(self, name: str, failed: Failure) -> Message:
        """Make the answer of a message that failed."""
        return oip.ModelStreamInferResponse(
            error_message=f"{failed.code.name}: {failed.status.message}",
            infer_response=oip.ModelInferResponse(id=name),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The services that answer."""

    embedding: EmbeddingService
    classification: ClassificationService
    score: ScoreService
    model: ModelService


class OpenInferenceService:
    """Each RPC translates to a service of `semserve.v1`, so that the numbers are the same bits."""

    name = "inference.GRPCInferenceService"

    def __init__(self, models: Models, limits: Limits, services: Services) -> None:
        self._models = models
        self._limits = limits
        self._services = services

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
        """Answer with a serialized ModelInferResponse."""
        self._models.refuse_while_draining()
        engine = self._model(request.model_name, request.model_version)
        tensors.require_whole(request)
        given = {tensor.name: place for place, tensor in enumerate(request.inputs)}
        wanted = [output.name for output in request.outputs]
        known = [output.name for output in _outputs(engine.manifest)]
        for place, output in enumerate(request.outputs):
            if output.name not in known or output.parameters:
                raise InvalidRequest.of(
                    f"outputs[{place}].name", f"{output.name!r}; the outputs are {', '.join(known)}"
                )
        if "token_ids" in given:
            made = await self._infer_tokens(engine, request, given, context)
        else:
            made = await self._infer_texts(engine, request, given, context)
        chosen = [made[name] for name in wanted or known]
        return oip.ModelInferResponse(
            model_name=engine.name,
            model_version=VERSION,
            id=request.id,
            outputs=[
                oip.ModelInferResponse.InferOutputTensor(
                    name=output.name, datatype=output.datatype, shape=output.shape
                )
                for output in chosen
            ],
            raw_output_contents=[output.content for output in chosen],
        ).SerializeToString()

    async def _infer_texts(
        self,
        engine: Engine,
        request: oip.ModelInferRequest,
        given: Mapping[str, int],
        context: Context,
    ) -> dict[str, tensors.Output]:
        names = _text_inputs(engine.manifest)
        _require_inputs(given, names)
        columns = [tensors.texts(request, given[name]) for name in names]
        if len(columns) == 2 and len(columns[0]) != len(columns[1]):  # noqa: PLR2004  (a pair)
            raise InvalidRequest.of(
                f"inputs[{given[names[1]]}].shape",
                f"has {len(columns[1])} texts, and {names[0]!r} has {len(columns[0])}",
            )
        answer = {"embedding": self._embed, "classification": self._classify, "score": self._score}
        return await answer[engine.manifest.task](engine, columns, request, context)

    async def _embed(
        self,
        engine: Engine,
        columns: list[list[str]],
        request: oip.ModelInferRequest,
        context: Context,
    ) -> dict[str, tensors.Output]:
        asked = embedding_pb2.EmbedRequest(
            model=engine.name, texts=columns[0], encoding=embedding_pb2.VECTOR_ENCODING_FLOAT32
        )
        _set_parameters(
            asked, request.parameters, ("normalize", "dimensions", "prompt_name", "truncation")
        )
        content = await self._services.embedding.embed(asked, context)
        results = embedding_pb2.EmbedResponse.FromString(content).results
        vectors = [result.embedding.packed for result in results]
        shape = (len(vectors), len(vectors[0]) // 4)
        return {"embedding": tensors.Output("embedding", "FP32", shape, b"".join(vectors))}

    async def _classify(
        self,
        engine: Engine,
        columns: list[list[str]],
        request: oip.ModelInferRequest,
        context: Context,
    ) -> dict[str, tensors.Output]:
        pairs = [
            classification_pb2.ClassifyPair(premise=one[0], hypothesis=one[1] if one[1:] else None)
            for one in zip(*columns, strict=True)
        ]
        asked = classification_pb2.ClassifyRequest(model=engine.name, pairs=pairs)
        _set_parameters(asked, request.parameters, ("truncation",))
        content = await self._services.classification.classify(asked, context)
        answered = classification_pb2.ClassifyResponse.FromString(content)
        found = [result.classification for result in answered.results]
        names = engine.manifest.labels or []
        by_name = [{score.label: score.score for score in one.scores} for one in found]
        scores = [[scores[name] for name in names] for scores in by_name]
        return _classified(
            np.array([one.logits for one in found], "f4"),
            np.array(scores, "f4"),
            [one.label for one in found],
        )

    async def _score(
        self,
        engine: Engine,
        columns: list[list[str]],
        request: oip.ModelInferRequest,
        context: Context,
    ) -> dict[str, tensors.Output]:
        asked = score_pb2.ScoreRequest(model=engine.name)
        if engine.manifest.pair:
            pairs = zip(*columns, strict=True)
            asked.pairs.extend(score_pb2.ScorePair(left=left, right=right) for left, right in pairs)
        else:
            asked.texts.extend(columns[0])
        _set_parameters(asked, request.parameters, ("truncation",))
        content = await self._services.score.score(asked, context)
        scores = score_pb2.ScoreResponse.FromString(content).scores
        return {"scores": tensors.floats("scores", np.array(scores, "f4"))}

    async def _infer_tokens(
        self,
        engine: Engine,
        request: oip.ModelInferRequest,
        given: Mapping[str, int],
        context: Context,
    ) -> dict[str, tensors.Output]:
        _set_parameters(None, request.parameters, ())
        rows = await infer_tokens(engine, request, given, self._limits, context)
        manifest = engine.manifest
        if manifest.task == "embedding":
            return {"embedding": tensors.floats("embedding", rows)}
        scores = SCORES[manifest.scores or "softmax"](rows)
        if manifest.task == "score":
            return {"scores": tensors.floats("scores", scores[:, 0])}
        names = manifest.labels or []
        best = [names[place] for place in rows.argmax(axis=1)]
        return _classified(rows, scores, best)

    async def server_live(self, _request: Message, _context: Context) -> Message:
        """Answer that the process answers."""
        return oip.ServerLiveResponse(live=True)

    async def server_ready(self, _request: Message, _context: Context) -> Message:
        """Answer whether there is a model and none hangs."""
        try:
            engines = self._models.all()
        except NotReady:
            engines = []
        ready = bool(engines) and not any(engine.stalled for engine in engines)
        return oip.ServerReadyResponse(ready=ready)

    async def model_ready(self, request: oip.ModelReadyRequest, _context: Context) -> Message:
        """Answer whether a model is served and does not hang."""
        try:
            engine = self._model(request.name, request.version)
        except (ModelNotFound, NotReady):
            return oip.ModelReadyResponse(ready=False)
        return oip.ModelReadyResponse(ready=not engine.stalled)

    async def server_metadata(self, _request: Message, _context: Context) -> Message:
        """Answer with the server's name and version."""
        return oip.ServerMetadataResponse(
            name="semserve", version=__version__, extensions=["model_repository"]
        )

    async def model_metadata(self, request: oip.ModelMetadataRequest, _context: Context) -> Message:
        """Answer with the tensors of a model."""
        engine = self._model(request.name, request.version)
        kind = oip.ModelMetadataResponse.TensorMetadata
        inputs = [
            kind(name=name, datatype="BYTES", shape=[-1]) for name in _text_inputs(engine.manifest)
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
                for one in _outputs(engine.manifest)
            ],
        )

    async def index(self, request: oip.RepositoryIndexRequest, context: Context) -> Message:
        """Answer with every bundle and its state."""
        _require_one_repository(request.repository_name)
        listed = await self._services.model.list_models(model_pb2.ListModelsRequest(), context)
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
        """Answer when the bundle of that name is served."""
        _require_no_parameters(request.repository_name, request.parameters)
        asked = model_pb2.LoadModelRequest(model=request.model_name)
        await self._services.model.load_model(asked, context)
        return oip.RepositoryModelLoadResponse()

    async def unload(self, request: oip.RepositoryModelUnloadRequest, context: Context) -> Message:
        """Answer when the model of that name is given no new calls."""
        _require_no_parameters(request.repository_name, request.parameters)
        asked = model_pb2.UnloadModelRequest(model=request.model_name)
        await self._services.model.unload_model(asked, context)
        return oip.RepositoryModelUnloadResponse()

    def _model(self, name: str, version: str) -> Engine:
        """Return the model of that name.

        Raises:
            InvalidRequest: no name is given.
            NotReady, ModelNotFound: as `Models.named`, and for an unknown version.
        """
        if not name:
            raise InvalidRequest.of("model_name", "is empty: name a model")
        engine = self._models.named(name)
        if version not in ("", VERSION):
            raise ModelNotFound(f"{name!r} has no version {version[:64]!r}; it has {VERSION!r}")
        return engine


def _text_inputs(manifest: Manifest) -> tuple[str, ...]:
    """Return the names of a model's inputs of texts.

    Raises:
        InvalidRequest: its answers have no form as tensors here.
    """
    names = _TEXT_INPUTS.get((manifest.task, bool(manifest.pair)))
    if names is None or manifest.sides:
        what = (
            "has an encoder for each side" if manifest.sides else f"is a model of {manifest.task}"
        )
        raise InvalidRequest.of("model_name", f"{manifest.model} {what}: call semserve.v1")
    return names


def _outputs(manifest: Manifest) -> list[tensors.Output]:
    """Return the outputs of a model, without content; -1 for the number of texts."""
    if manifest.task == "embedding":
        return [tensors.Output("embedding", "FP32", (-1, manifest.outputs), b"")]
    if manifest.task == "score":
        return [tensors.Output("scores", "FP32", (-1,), b"")]
    size = len(manifest.labels or ())
    return [
        tensors.Output("label", "BYTES", (-1,), b""),
        tensors.Output("scores", "FP32", (-1, size), b""),
        tensors.Output("logits", "FP32", (-1, size), b""),
    ]


def _classified(logits: Any, scores: Any, best: list[str]) -> dict[str, tensors.Output]:
    return {
        "label": tensors.labels("label", best),
        "scores": tensors.floats("scores", scores),
        "logits": tensors.floats("logits", logits),
    }


def _require_inputs(given: Mapping[str, int], names: tuple[str, ...]) -> None:
    for name, place in given.items():
        if name not in names:
            known = ", ".join(names)
            raise InvalidRequest.of(
                f"inputs[{place}].name", f"{name[:64]!r}; the inputs are {known}"
            )
    for name in names:
        if name not in given:
            raise InvalidRequest.of("inputs", f"{name!r} is missing")


def _set_parameters(
    asked: Any, parameters: Mapping[str, oip.InferParameter], known: tuple[str, ...]
) -> None:
    """Put the parameters into a request of `semserve.v1`.

    Raises:
        InvalidRequest: naming one that is unknown here, or of another type.
    """
    kinds: dict[str, tuple[str, Callable[[Any], Any]]] = {
        "normalize": ("bool_param", bool),
        "dimensions": ("int64_param", int),
        "prompt_name": ("string_param", str),
        "truncation": ("string_param", _truncation),
    }
    for name, value in parameters.items():
        if name not in known:
            names = ", ".join(known) or "none"
            raise InvalidRequest.of(f"parameters[{name[:64]}]", f"is unknown; known are: {names}")
        kind, convert = kinds[name]
        if value.WhichOneof("parameter_choice") != kind:
            raise InvalidRequest.of(f"parameters[{name}]", f"has no {kind}")
        try:
            setattr(asked, name, convert(getattr(value, kind)))
        except ValueError as error:
            raise InvalidRequest.of(f"parameters[{name}]", "is out of range") from error


def _truncation(name: str) -> int:
    if name not in _TRUNCATIONS:
        known = ", ".join(_TRUNCATIONS)
        raise InvalidRequest.of("parameters[truncation]", f"{name[:64]!r}; known are: {known}")
    return _TRUNCATIONS[name]


def _require_one_repository(name: str) -> None:
    if name:
        raise InvalidRequest.of("repository_name", "is given, but there is one repository")


def _require_no_parameters(repository: str, parameters: Mapping[str, Any]) -> None:
    _require_one_repository(repository)
    if parameters:
        raise InvalidRequest.of("parameters", f"{min(parameters)[:64]!r} is no known parameter")
