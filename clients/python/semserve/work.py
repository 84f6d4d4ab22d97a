"""What a client has to do, as a value: which method, which requests, how to read the answers.

The modules of the services make these values and the two clients only carry them out, so that
nothing about a request or an answer is written once for each client.
"""

from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from semserve.errors import SemserveError, moved

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC.

    Attributes:
        path: where gRPC finds it, `/package.Service/Name`.
        request: the class of its requests.
        response: the class of its responses.
    """

    path: str
    request: type[Message]
    response: type[Message]


@dataclass(frozen=True, slots=True)
class Part:
    """One request of a piece of work.

    Attributes:
        request: what is sent.
        size: how many of the caller's texts or pairs it carries, which progress counts.
        offsets: where in the caller's list each field of the request starts.
    """

    request: Message
    size: int = 0
    offsets: Mapping[str, int] = field(default_factory=dict)

    def explain(self, error: SemserveError) -> SemserveError:
        """Name the caller's places in an error that names those of this request."""
        for name, offset in self.offsets.items():
            error = moved(error, name, offset)
        return error


@dataclass(frozen=True, slots=True)
class Batches(Generic[Result]):
    """The requests of one stream, which may have no end.

    Attributes:
        source: what the caller gave; the asyncio client takes an async iterable too.
        part: makes the request of one item of it.
        method: the RPC of the stream.
        read: makes the result of a request and its response.
    """

    source: Iterable[Any] | AsyncIterable[Any]
    part: Callable[[Any], Part]
    method: Method
    read: Callable[[Any, Any], Result]


@dataclass(frozen=True, slots=True)
class Work(Generic[Result]):
    """A call of a client: one request, or the many that a long list is cut into.

    Attributes:
        parts: the requests, at least one.
        method: the RPC for one of them.
        read: makes the result of a request and its response.
        join: makes one result of those of all parts, in their order.
        stream: the RPC that carries many requests, if there is one.
    """

    parts: Sequence[Part]
    method: Method
    read: Callable[[Any, Any], Result]
    join: Callable[[Sequence[Result]], Result]
    stream: Method | None = None

    @property
    def batches(self) -> Batches[Result] | None:
        """The parts as a stream, where there are many and an RPC that streams them."""
        if self.stream is None or len(self.parts) == 1:
            return None
        return Batches(self.parts, lambda part: part, self.stream, self.read)


@dataclass(frozen=True, slots=True)
class Answer(Generic[Result]):
    """What a stream answered to one batch.

    Attributes:
        index: the batch's place, from 0, in what the caller gave.
        error: why there is no result, or `None`.
    """

    index: int
    error: SemserveError | None
    _result: Result | None

    @property
    def result(self) -> Result:
        """The result.

        Raises:
            SemserveError: there is none; this is `error`.
        """
        if self.error is not None:
            raise self.error
        return self._result  # type: ignore[return-value]  # None only beside an error


class Results(Generic[Result]):
    """The results of the parts of some work, as their answers come in any order.

    Args:
        work: what is being done.
        progress: called with the texts done and the texts in all, where there are many parts.
    """

    def __init__(self, work: Work[Result], progress: Callable[[int, int], None]) -> None:
        self._work = work
        self._progress = progress
        self._found: dict[int, Result] = {}

    def take(self, answer: Answer[Result]) -> None:
        """Keep the result of one part.

        Raises:
            SemserveError: the part failed, and so the whole.
        """
        self._found[answer.index] = answer.result
        parts = self._work.parts
        if len(parts) > 1:
            done = sum(parts[index].size for index in self._found)
            self._progress(done, sum(part.size for part in parts))

    def whole(self) -> Result:
        """Make one result of all."""
        results = [self._found[index] for index in range(len(self._work.parts))]
        return results[0] if len(results) == 1 else self._work.join(results)


def single(method: Method, request: Message, read: Callable[[Any, Any], Result]) -> Work[Result]:
    """Make work of one request."""
    return Work([Part(request)], method, read, join=lambda results: results[0])
