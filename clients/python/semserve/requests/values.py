"""Common values: words for the schema's enums, parts of lists, and the cost of a call."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from semserve.v1 import common_pb2, embedding_pb2, model_pb2, similarity_pb2

Truncation = Literal["end", "start", "none"]
Encoding = Literal["values", "float32", "float16", "int8"]
Metric = Literal["cosine", "dot", "euclidean", "manhattan"]
Task = Literal["embedding", "classification", "score", "sparse_embedding"]
Side = Literal["left", "right"]
ScoreFunction = Literal["softmax", "sigmoid", "none"]
ModelState = Literal["loading", "ready", "refused", "unloaded"]

T = TypeVar("T")

# Half of the server's default limit for one message (4 MiB).
MAX_REQUEST_BYTES = 2 << 20


@dataclass(frozen=True, slots=True)
class Words:
    """The words for the values of one enum of the schema."""

    enum: Any
    prefix: str

    def number(self, word: str | None) -> Any:
        """Return the number of a word; `None` is the model's default, number 0.

        Raises:
            ValueError: the enum has no such word; the message lists its words.
        """
        name = self.prefix + ("UNSPECIFIED" if word is None else word.upper())
        if name not in self.enum.keys():  # noqa: SIM118 - enum wrappers are no containers
            known = ", ".join(self.word(number) for number in self.enum.values() if number)
            raise ValueError(f"{word!r} is none of {known}")
        return self.enum.Value(name)

    def word(self, number: int) -> Any:
        """Return the word of a number; `None` for the unspecified value.

        A number that only a newer server knows stays a number.
        """
        try:
            name: str = self.enum.Name(number)
        except ValueError:
            return str(number)
        word = name.removeprefix(self.prefix).lower()
        return None if word == "unspecified" else word


TRUNCATION = Words(common_pb2.Truncation, "TRUNCATION_")
ENCODING = Words(embedding_pb2.VectorEncoding, "VECTOR_ENCODING_")
METRIC = Words(similarity_pb2.Metric, "METRIC_")
TASK = Words(model_pb2.Task, "TASK_")
SIDE = Words(common_pb2.Side, "SIDE_")
SCORE_FUNCTION = Words(model_pb2.ScoreFunction, "SCORE_FUNCTION_")
MODEL_STATE = Words(model_pb2.ModelState, "MODEL_STATE_")


@dataclass(frozen=True, slots=True)
class Usage:
    """The cost of a call, in tokens.

    Attributes:
        token_count: tokens of the call's texts, special tokens included.
        padded_token_count: tokens computed for them, padding included.
    """

    token_count: int = 0
    padded_token_count: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.token_count + other.token_count,
            self.padded_token_count + other.padded_token_count,
        )


def usage(message: common_pb2.Usage) -> Usage:
    """Read the cost of a call."""
    return Usage(message.token_count, message.padded_token_count)


class Chunk(NamedTuple, Generic[T]):
    """A part of a list that fits into one request."""

    start: int
    items: Sequence[T]


def chunks(
    items: Sequence[T],
    size: int,
    weigh: Callable[[T], int],
    max_bytes: int = MAX_REQUEST_BYTES,
) -> list[Chunk[T]]:
    """Split a list into parts of at most `size` items and `max_bytes` in all.

    An empty list is one empty part, because the server decides what it means.
    """
    cut: list[Chunk[T]] = []
    start = weight = 0
    for place, item in enumerate(items):
        weight += weigh(item)
        if place > start and (place - start == size or weight > max_bytes):
            cut.append(Chunk(start, items[start:place]))
            start, weight = place, weigh(item)
    return [*cut, Chunk(start, items[start:])]


def text_bytes(text: str) -> int:
    """Return the UTF-8 bytes of a text."""
    return len(text.encode())
