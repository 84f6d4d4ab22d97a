"""ModelService: what is served, how it reads texts, and what is to be served instead."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from time import perf_counter

from semserve.v1 import common_pb2, model_pb2

from semserve_server.auth.key_store import FREE, PRINCIPAL
from semserve_server.engine import Engine
from semserve_server.errors import InvalidRequest, PermissionDenied
from semserve_server.instrumentation.request_context import current
from semserve_server.registry.registry import Control, Models
from semserve_server.rpc import encoding as wire
from semserve_server.rpc.handlers import Context, Handlers, unary
from semserve_server.rpc.reply_room import reply_room
from semserve_server.runtime.tokenizer import Tokens
from semserve_server.services import validation as checks
from semserve_server.services.execution import ITEM_BYTES
from semserve_server.services.validation import METRICS, Limits

TOKEN_BYTES = 20
"""Bytes of a token in the answer of Tokenize, or more. A text has at most a token for each of its
bytes, and some special ones."""

_TASKS = {
    "embedding": model_pb2.TASK_EMBEDDING,
    "classification": model_pb2.TASK_CLASSIFICATION,
}
_METRICS = {name: value for value, name in METRICS.items()}


class ModelService:
    """ListModels, GetModel, LoadModel, UnloadModel and Tokenize."""

    name = "semserve.v1.ModelService"

    def __init__(self, models: Models, limits: Limits) -> None:
        self._models = models
        self._limits = limits

    def handlers(self) -> Handlers:
        """Return a handler for each RPC of the service."""
        return {
            "ListModels": unary(model_pb2.ListModelsRequest, self.list_models),
            "GetModel": unary(model_pb2.GetModelRequest, self.get_model),
            "LoadModel": unary(model_pb2.LoadModelRequest, self.load_model),
            "UnloadModel": unary(model_pb2.UnloadModelRequest, self.unload_model),
            "Tokenize": unary(
                model_pb2.TokenizeRequest, self.tokenize, max_fields=self._limits.max_texts
            ),
        }

    async def list_models(
        self, _request: model_pb2.ListModelsRequest, _context: Context
    ) -> model_pb2.ListModelsResponse:
        """Answer with every loaded model."""
        engines = self._models.all()
        return model_pb2.ListModelsResponse(models=[self._info(engine) for engine in engines])

    async def get_model(
        self, request: model_pb2.GetModelRequest, _context: Context
    ) -> model_pb2.GetModelResponse:
        """Answer with one model."""
        engine = self._models.any_task(request.model)
        return model_pb2.GetModelResponse(model=self._info(engine))

    async def load_model(
        self, request: model_pb2.LoadModelRequest, _context: Context
    ) -> model_pb2.LoadModelResponse:
        """Answer when the model is served as it is on the disk."""
        engine = await self._control(request.model).load(request.model)
        return model_pb2.LoadModelResponse(model=self._info(engine))

    async def unload_model(
        self, request: model_pb2.UnloadModelRequest, _context: Context
    ) -> model_pb2.UnloadModelResponse:
        """Answer when nobody new is given to the model."""
        await self._control(request.model).unload(request.model)
        return model_pb2.UnloadModelResponse()

    async def tokenize(self, request: model_pb2.TokenizeRequest, context: Context) -> bytes:
        """Answer with the tokens of each text: a serialized TokenizeResponse."""
        self._models.refuse_while_draining()
        engine = self._models.any_task(request.model)
        current().model = engine.counters
        checks.count("texts", len(request.texts), self._limits)
        texts = list(request.texts)
        checks.texts(((f"texts[{place}]", t) for place, t in enumerate(texts)), self._limits)
        content = checks.total_bytes("texts", texts, self._limits)
        size = content * TOKEN_BYTES + len(texts) * ITEM_BYTES
        principal = PRINCIPAL.get(None)
        estimate = engine.estimate(texts)
        with FREE if principal is None else principal.reserve(estimate) as charge:
            await reply_room().enter(size)
            reply_room().hold(size)
            started = perf_counter()
            told = await engine.tokens(
                texts, partial(_told, engine), remaining=context.time_remaining()
            )
            current().tokenized = started, perf_counter()
            tokens = sum(one.tokens for one in told)
            charge.settle(tokens)
            engine.counters.tokenized += tokens
        head = wire.delimited(1, engine.name.encode())
        return b"".join((head, *(one.content for one in told)))

    def _control(self, name: str) -> Control:
        """Return what loads and unloads the model of that name.

        Raises:
            PermissionDenied: nobody may, or the caller may not.
            InvalidRequest: no name is given.
            Draining: the server is stopping.
        """
        self._models.refuse_while_draining()
        self._models.check_control(name)
        if self._models.control is None:
            raise PermissionDenied("this server was not started with --allow-model-control")
        if not name:
            raise InvalidRequest.of("model", "is empty: name the bundle")
        return self._models.control

    def _info(self, engine: Engine) -> model_pb2.ModelInfo:
        manifest = engine.manifest
        return model_pb2.ModelInfo(
            name=engine.name,
            description=manifest.description,
            task=_TASKS[manifest.task],
            is_default=self._models.is_default(engine),
            max_sequence_length=manifest.max_sequence_length,
            truncation=common_pb2.TRUNCATION_END,
            dimensions=manifest.dimensions or 0,
            pooling=manifest.pooling or "",
            normalized=bool(manifest.normalized),
            metric=_METRICS.get(manifest.metric or "", 0),  # type: ignore[arg-type]  # an enum is an int on the wire
            labels=manifest.labels or [],
            takes_pairs=manifest.pair,
            variant=engine.variant,
            provider=engine.provider,
            digest=engine.digest,
            reload_error=self._models.refusals.get(engine.name, ""),
        )


@dataclass(frozen=True, slots=True)
class _Told:
    """Some results of a TokenizeResponse."""

    content: bytes
    """Serialized, to be followed by others."""
    tokens: int


def _told(engine: Engine, read: list[Tokens]) -> _Told:
    """Write the results of some texts, on the tokenizer's thread."""
    limit = engine.manifest.max_sequence_length
    results = [
        model_pb2.TokenizeResult(
            tokens=one.tokens,
            ids=one.ids,
            starts=[start for start, _ in one.offsets],
            ends=[end for _, end in one.offsets],
            truncated_tokens=max(len(one.ids) - limit, 0),
        )
        for one in read
    ]
    content = model_pb2.TokenizeResponse(results=results).SerializeToString()
    return _Told(content, sum(len(one.ids) for one in read))
