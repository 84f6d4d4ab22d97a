"""ModelService: its requests and results."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from semserve.requests.inputs import as_texts
from semserve.requests.values import (
    METRIC,
    MODEL_STATE,
    SCORE_FUNCTION,
    SIDE,
    TASK,
    TRUNCATION,
    Metric,
    ModelState,
    ScoreFunction,
    Side,
    Task,
    Truncation,
)
from semserve.requests.work import Method, Work, single
from semserve.v1 import model_pb2

LIST = Method(
    "/semserve.v1.ModelService/ListModels",
    model_pb2.ListModelsRequest,
    model_pb2.ListModelsResponse,
)
GET = Method(
    "/semserve.v1.ModelService/GetModel",
    model_pb2.GetModelRequest,
    model_pb2.GetModelResponse,
)
LOAD = Method(
    "/semserve.v1.ModelService/LoadModel",
    model_pb2.LoadModelRequest,
    model_pb2.LoadModelResponse,
)
UNLOAD = Method(
    "/semserve.v1.ModelService/UnloadModel",
    model_pb2.UnloadModelRequest,
    model_pb2.UnloadModelResponse,
)
SERVER_INFO = Method(
    "/semserve.v1.ModelService/GetServerInfo",
    model_pb2.GetServerInfoRequest,
    model_pb2.GetServerInfoResponse,
)
TOKENIZE = Method(
    "/semserve.v1.ModelService/Tokenize",
    model_pb2.TokenizeRequest,
    model_pb2.TokenizeResponse,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """A model. If it is not loaded, only its name, its state and the reason are set.

    Attributes:
        name: the name for requests.
        description: one line for people.
        task: the model's task; none if the model is not loaded.
        is_default: whether requests of its task that name no model use it.
        max_sequence_length: most tokens of a text or pair, special tokens included.
        truncation: the default rule for longer texts.
        dimensions: dimensions of a vector; 0 for a model without vectors.
        pooling: how token vectors are pooled; empty if unknown.
        normalized: whether vectors have unit length.
        metric: the default metric for comparing its vectors, if it has vectors.
        labels: a classifier's labels in the order of its outputs.
        takes_pairs: whether it takes pairs instead of single texts.
        variant: the graph in use, such as `portable`.
        provider: the ONNX Runtime execution provider in use.
        digest: SHA-256 of the bundle's manifest in hexadecimal.
        reload_error: why the present bundle on the disk failed to load, if it did.
        scores: the function from logits to scores; none for a model without logits.
        text_order: order of the texts in a pair's encoding; empty for single texts.
        prompts: texts that can be put before each text, by name.
        default_prompt: the prompt of calls that name none; empty if there is none.
        sides: the sides for which it has an encoder each.
        state: whether it is loaded.
        reason: why it failed to load, if it did.
    """

    name: str
    description: str
    task: Task | None
    is_default: bool
    max_sequence_length: int
    truncation: Truncation | None
    dimensions: int
    pooling: str
    normalized: bool
    metric: Metric | None
    labels: tuple[str, ...]
    takes_pairs: bool
    variant: str
    provider: str
    digest: str
    reload_error: str
    scores: ScoreFunction | None
    text_order: tuple[str, ...]
    prompts: Mapping[str, str]
    default_prompt: str
    sides: tuple[Side, ...]
    state: ModelState | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerInfo:
    """A description of the server.

    Attributes:
        version: version of the server.
        limits: limits of requests, by the names of the message `ServerLimits`.
        default_models: the model for calls that name none, by task.
        default_top_k: hits of a query in `search` without `top_k`.
        allow_model_control: whether `load_model` and `unload_model` are allowed.
    """

    version: str
    limits: Mapping[str, int]
    default_models: Mapping[Task, str]
    default_top_k: int
    allow_model_control: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """The tokens of one text, special tokens included, without truncation.

    Attributes:
        tokens: the tokens as written in the vocabulary.
        ids: their ids in the vocabulary.
        spans: start and end of each token in the text, in characters; (0, 0) for special tokens.
        truncated_tokens: how many tokens the model would drop.
    """

    tokens: tuple[str, ...]
    ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    truncated_tokens: int


def models() -> Work[list[ModelInfo]]:
    """Create the work to list the models, sorted by name."""

    def read(_: object, response: model_pb2.ListModelsResponse) -> list[ModelInfo]:
        return [_info(model) for model in response.models]

    return single(LIST, model_pb2.ListModelsRequest(), read)


def model(name: str) -> Work[ModelInfo]:
    """Create the work to describe one model."""

    def read(_: object, response: model_pb2.GetModelResponse) -> ModelInfo:
        return _info(response.model)

    return single(GET, model_pb2.GetModelRequest(model=name), read)


def load_model(name: str) -> Work[ModelInfo]:
    """Create the work to load a bundle from the server's disk."""

    def read(_: object, response: model_pb2.LoadModelResponse) -> ModelInfo:
        return _info(response.model)

    return single(LOAD, model_pb2.LoadModelRequest(model=name), read)


def unload_model(name: str) -> Work[None]:
    """Create the work to unload a model."""
    return single(UNLOAD, model_pb2.UnloadModelRequest(model=name), lambda _, __: None)


def server_info() -> Work[ServerInfo]:
    """Create the work to describe the server."""

    def read(_: object, response: model_pb2.GetServerInfoResponse) -> ServerInfo:
        limits = response.limits
        return ServerInfo(
            version=response.version,
            limits={one.name: getattr(limits, one.name) for one in limits.DESCRIPTOR.fields},
            default_models={TASK.word(one.task): one.model for one in response.default_models},
            default_top_k=response.default_top_k,
            allow_model_control=response.allow_model_control,
        )

    return single(SERVER_INFO, model_pb2.GetServerInfoRequest(), read)


def tokenize(texts: Iterable[str], name: str) -> Work[list[Tokens]]:
    """Create the work to tokenise texts."""

    def read(_: object, response: model_pb2.TokenizeResponse) -> list[Tokens]:
        return [
            Tokens(
                tokens=tuple(result.tokens),
                ids=tuple(result.ids),
                spans=tuple(zip(result.starts, result.ends, strict=True)),
                truncated_tokens=result.truncated_tokens,
            )
            for result in response.results
        ]

    request = model_pb2.TokenizeRequest(model=name, texts=as_texts(texts, "texts"))
    return single(TOKENIZE, request, read)


def _info(message: model_pb2.ModelInfo) -> ModelInfo:
    return ModelInfo(
        name=message.name,
        description=message.description,
        task=TASK.word(message.task),
        is_default=message.is_default,
        max_sequence_length=message.max_sequence_length,
        truncation=TRUNCATION.word(message.truncation),
        dimensions=message.dimensions,
        pooling=message.pooling,
        normalized=message.normalized,
        metric=METRIC.word(message.metric),
        labels=tuple(message.labels),
        takes_pairs=message.takes_pairs,
        variant=message.variant,
        provider=message.provider,
        digest=message.digest,
        reload_error=message.reload_error,
        scores=SCORE_FUNCTION.word(message.scores),
        text_order=tuple(message.text_order),
        prompts=dict(message.prompts),
        default_prompt=message.default_prompt,
        sides=tuple(SIDE.word(side) for side in message.sides),
        state=MODEL_STATE.word(message.state),
        reason=message.reason,
    )
