"""What a server serves: the requests of ModelService, and `ModelInfo` and `Tokens`, its answers."""

from collections.abc import Iterable
from dataclasses import dataclass

from semserve.inputs import as_texts
from semserve.v1 import model_pb2
from semserve.values import METRIC, TASK, TRUNCATION, Metric, Task, Truncation
from semserve.work import Method, Work, single

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
TOKENIZE = Method(
    "/semserve.v1.ModelService/Tokenize",
    model_pb2.TokenizeRequest,
    model_pb2.TokenizeResponse,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """A loaded model.

    Attributes:
        name: the name that requests use.
        description: one line for people.
        task: what it does.
        is_default: whether it answers requests of its task that name no model.
        max_sequence_length: most tokens of a text or pair, special tokens included.
        truncation: what it does with longer ones unless a request says otherwise.
        dimensions: dimensions of a vector; 0 for a classifier.
        pooling: how token vectors become one; empty for a classifier.
        normalized: whether its vectors are of unit length.
        metric: how its vectors are compared unless a request says otherwise; none for a classifier.
        labels: a classifier's labels in the order of its outputs.
        takes_pairs: whether a classifier takes pairs rather than single texts.
        variant: the graph in use, such as `portable`.
        provider: the ONNX Runtime execution provider in use.
        digest: SHA-256 of the bundle's manifest in hexadecimal.
        reload_error: why the bundle that is on the disk now was refused, if it was.
    """

    name: str
    description: str
    task: Task
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """How a tokenizer reads one text, special tokens included and nothing truncated.

    Attributes:
        tokens: the tokens as written in the vocabulary.
        ids: their ids in the vocabulary.
        spans: where each starts and ends in the text, in characters; (0, 0) for special ones.
        truncated_tokens: how many of them the model would drop as too many.
    """

    tokens: tuple[str, ...]
    ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    truncated_tokens: int


def models() -> Work[list[ModelInfo]]:
    """Make the work of listing the loaded models, sorted by name."""

    def read(_: object, response: model_pb2.ListModelsResponse) -> list[ModelInfo]:
        return [_info(model) for model in response.models]

    return single(LIST, model_pb2.ListModelsRequest(), read)


def model(name: str) -> Work[ModelInfo]:
    """Make the work of describing one model."""

    def read(_: object, response: model_pb2.GetModelResponse) -> ModelInfo:
        return _info(response.model)

    return single(GET, model_pb2.GetModelRequest(model=name), read)


def load_model(name: str) -> Work[ModelInfo]:
    """Make the work of having a bundle served as it is on the server's disk."""

    def read(_: object, response: model_pb2.LoadModelResponse) -> ModelInfo:
        return _info(response.model)

    return single(LOAD, model_pb2.LoadModelRequest(model=name), read)


def unload_model(name: str) -> Work[None]:
    """Make the work of having a model served no longer."""
    return single(UNLOAD, model_pb2.UnloadModelRequest(model=name), lambda _, __: None)


def tokenize(texts: Iterable[str], name: str) -> Work[list[Tokens]]:
    """Make the work of showing how a model reads texts."""

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
    )
