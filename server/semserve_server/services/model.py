"""ModelService: lists, describes, loads and unloads models, and shows how they tokenise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter

from semserve.v1 import common_pb2, model_pb2

from semserve_server.auth.key_store import FREE, PRINCIPAL
from semserve_server.engine import Engine
from semserve_server.errors import InvalidRequest, PermissionDenied
from semserve_server.instrumentation.request_context import current
from semserve_server.registry.registry import Control, ModelRegistry
from semserve_server.repository.manifest import Manifest
from semserve_server.rpc import encoding as wire
from semserve_server.rpc.handlers import Context, Handlers, unary
from semserve_server.rpc.reply_room import reply_room
from semserve_server.runtime.tokenizer import Tokens
from semserve_server.services import validation as checks
from semserve_server.services.execution import ITEM_BYTES
from semserve_server.services.server_info import TASKS, TransportLimits, server_info
from semserve_server.services.validation import METRICS, Limits

TOKEN_BYTES = 20
"""Upper bound of the bytes of a token in a TokenizeResponse. A text has at most one token for
each of its bytes, and some special tokens."""

_SCORES = {
    None: model_pb2.SCORE_FUNCTION_UNSPECIFIED,
    "softmax": model_pb2.SCORE_FUNCTION_SOFTMAX,
    "sigmoid": model_pb2.SCORE_FUNCTION_SIGMOID,
    "none": model_pb2.SCORE_FUNCTION_NONE,
}
_TRUNCATIONS = {"end": common_pb2.TRUNCATION_END, "start": common_pb2.TRUNCATION_START}
_SIDES = {"left": common_pb2.SIDE_LEFT, "right": common_pb2.SIDE_RIGHT}
_STATES = {
    "loading": model_pb2.MODEL_STATE_LOADING,
    "refused": model_pb2.MODEL_STATE_REFUSED,
    "unloaded": model_pb2.MODEL_STATE_UNLOADED,
}
_METRICS = {name: value for value, name in METRICS.items()}


class ModelService:
    """ListModels, GetModel, LoadModel, UnloadModel, Tokenize and GetServerInfo."""

    name = "semserve.v1.ModelService"

    def __init__(self, models: ModelRegistry, limits: Limits, transport: TransportLimits) -> None:
        self._models = models
        self._limits = limits
        self._transport = transport

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
            "GetServerInfo": unary(model_pb2.GetServerInfoRequest, self.get_server_info),
        }

    async def list_models(
        self, _request: model_pb2.ListModelsRequest, _context: Context
    ) -> model_pb2.ListModelsResponse:
        """Return every model, including those that are not loaded, sorted by name."""
        infos = [self._info(engine) for engine in self._models.all()]
        for name, state in self._models.unserved().items():
            reason = self._models.refusals.get(name, "") if state == "refused" else ""
            infos.append(model_pb2.ModelInfo(name=name, state=_STATES[state], reason=reason))
        return model_pb2.ListModelsResponse(models=sorted(infos, key=lambda info: info.name))

    async def get_server_info(
        self, _request: model_pb2.GetServerInfoRequest, _context: Context
    ) -> model_pb2.GetServerInfoResponse:
        """Return the version, the limits of requests and the default models."""
        return server_info(self._models, self._limits, self._transport)

    async def get_model(
        self, request: model_pb2.GetModelRequest, _context: Context
    ) -> model_pb2.GetModelResponse:
        """Return one model."""
        engine = self._models.any_task(request.model)
        return model_pb2.GetModelResponse(model=self._info(engine))

    async def load_model(
        self, request: model_pb2.LoadModelRequest, _context: Context
    ) -> model_pb2.LoadModelResponse:
        """Load a bundle from the disk, and return when its model serves requests."""
        engine = await self._control(request.model).load(request.model)
        return model_pb2.LoadModelResponse(model=self._info(engine))

    async def unload_model(
        self, request: model_pb2.UnloadModelRequest, _context: Context
    ) -> model_pb2.UnloadModelResponse:
        """Unload a model, and return when no new request can use it."""
        await self._control(request.model).unload(request.model)
        return model_pb2.UnloadModelResponse()

    async def tokenize(self, request: model_pb2.TokenizeRequest, context: Context) -> bytes:
        """Return a serialized TokenizeResponse: the tokens of each text."""
        self._models.refuse_while_draining()
        engine = self._models.any_task(request.model)
        current().model = engine.counters
        checks.count("texts", len(request.texts), self._limits)
        texts = list(request.texts)
        checks.texts(((f"texts[{place}]", t) for place, t in enumerate(texts)), self._limits)
        content = checks.total_bytes("texts", texts, self._limits)
        size = content * TOKEN_BYTES + len(texts) * ITEM_BYTES
        chunks = await read_tokens(engine, texts, partial(_write_results, engine), size, context)
        head = wire.delimited(1, engine.name.encode())
        return b"".join((head, *(one.content for one in chunks)))

    def _control(self, name: str) -> Control:
        """Return the model manager, if the caller may control the model of that name.

        Raises:
            PermissionDenied: the server does not allow model control, or the key does not have the
                right.
            InvalidRequest: the name is empty.
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
            task=TASKS[manifest.task],
            is_default=self._models.is_default(engine),
            max_sequence_length=manifest.max_sequence_length,
            truncation=_TRUNCATIONS[manifest.truncation],
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
            scores=_SCORES[_scores(manifest)],
            text_order=_text_order(manifest),
            prompts=manifest.prompts or {},
            default_prompt=manifest.default_prompt or "",
            sides=[_SIDES[side] for side in manifest.sides or ()],
            state=model_pb2.MODEL_STATE_READY,
        )


def _scores(manifest: Manifest) -> str | None:
    """Return the function from logits to scores; None if the model has no logits."""
    if manifest.output != "logits":
        return None
    return manifest.scores or "softmax"


def _text_order(manifest: Manifest) -> Sequence[str]:
    """Return the order of the texts in a pair's encoding; empty for a model of single texts."""
    if not manifest.pair:
        return ()
    return manifest.text_order or ("premise", "hypothesis")


@dataclass(frozen=True, slots=True)
class TokenizedChunk:
    """The results of some texts, as a part of a reply."""

    content: bytes
    """Serialized; the parts of a reply are concatenated."""
    tokens: int


async def read_tokens(
    engine: Engine,
    texts: Sequence[str],
    write: Callable[[list[Tokens]], TokenizedChunk],
    reply_bytes: int,
    context: Context,
) -> list[TokenizedChunk]:
    """Tokenise texts for a reply, and charge the caller's key for the tokens.

    Args:
        engine: the model.
        texts: at least one, validated.
        write: serializes the results of some texts, on the tokenizer thread.
        reply_bytes: upper bound of the bytes of the reply.
        context: context of the call.

    Raises:
        Overloaded, Draining: as `Engine.tokens`.
    """
    principal = PRINCIPAL.get(None)
    estimate = engine.estimate(texts)
    with FREE if principal is None else principal.reserve(estimate) as charge:
        await reply_room().enter(reply_bytes)
        await reply_room().hold(reply_bytes)
        started = perf_counter()
        chunks = await engine.tokens(texts, write, remaining=context.time_remaining())
        current().tokenized = started, perf_counter()
        tokens = sum(one.tokens for one in chunks)
        charge.settle(tokens)
        engine.counters.tokenized += tokens
    return chunks


def _write_results(engine: Engine, read: list[Tokens]) -> TokenizedChunk:
    """Serialize the results of some texts. Runs on the tokenizer thread."""
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
    return TokenizedChunk(content, sum(len(one.ids) for one in read))
