"""What a client has to do, as a value: which method, which requests, how to read the answers.

The modules of the services make these values and the two clients only carry them out, so that
nothing about a request or an answer is written once for each client.
"""

from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import add
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from semserve.connection.reply import Reply, with_call_details
from semserve.errors import InvalidRequest, SemserveError, with_offset
from semserve.requests.inputs import Failures

Result = TypeVar("Result")

# A larger request is sent by itself, not over a stream: one that the server refuses as too large
# ends the whole stream. Parts of lists are smaller, unless one text alone is so large.
MAX_STREAM_REQUEST_BYTES = 3 << 20
# Fields beside which a request has no other texts, so that its one item is what is too large.
_ONLY_FIELDS = ("texts", "pairs")


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC.

    Attributes:
        path: where gRPC finds it, `/package.Service/Name`.
        request: the class of its requests.
        response: the class of its responses.
        kind: gRPC's word for what is one and what is a stream.
    """

    path: str
    request: type[Message]
    response: type[Message]
    kind: str = "unary_unary"


@dataclass(frozen=True, slots=True)
class Part:
    """One request of a piece of work.

    Attributes:
        request: what is sent.
        size: how many of the caller's texts or pairs it carries, which progress counts.
        offsets: where in the caller's list each field of the request starts.
        failures: why items of it could not be sent; the request has placeholders in their places.
        gap: makes the result of a request of one item that failed, where the caller allows partial
            answers.
    """

    request: Message
    size: int = 0
    offsets: Mapping[str, int] = field(default_factory=dict)
    failures: Failures = field(default_factory=dict)
    gap: Callable[[InvalidRequest], Any] | None = None

    @property
    def oversize(self) -> bool:
        """Whether it has to be sent by itself rather than over a stream."""
        return self.request.ByteSize() > MAX_STREAM_REQUEST_BYTES

    def explain(self, error: SemserveError) -> SemserveError:
        """Name the caller's places in an error that names those of this request."""
        for name, offset in self.offsets.items():
            error = with_offset(error, name, offset)
        return error

    def failed(self, index: int, error: SemserveError) -> "Answer[Any]":
        """Give the answer to a request that failed as a whole."""
        if isinstance(error, InvalidRequest) and error.too_large and self.size == 1:
            name = next(iter(self.offsets), "")
            if name in _ONLY_FIELDS:
                blamed = InvalidRequest(
                    f"{name}[0]: {error}", fields={f"{name}[0]": "is too large"}, too_large=True
                )
                blamed.request_id, blamed.__cause__ = error.request_id, error.__cause__
                error = blamed
            if self.gap is not None and isinstance(error, InvalidRequest):
                return Answer(index, None, self.gap(error))
        return Answer(index, self.explain(error), None)


@dataclass(frozen=True, slots=True)
class Batches(Generic[Result]):
    """The requests of one stream, which may have no end.

    Attributes:
        source: what the caller gave; the asyncio client takes an async iterable too.
        part: makes the request of one item of it.
        method: the RPC of the stream.
        single: the RPC of one request by itself.
        read: makes the result of a request and its response.
    """

    source: Iterable[Any] | AsyncIterable[Any]
    part: Callable[[Any], Part]
    method: Method
    single: Method
    read: Callable[[Any, Any], Result]

    def answered(self, index: int, part: Part, response: Any) -> "Answer[Result]":
        """Give the answer to a request that was answered."""
        return Answer(index, None, with_failures(self.read(part.request, response), part.failures))


@dataclass(frozen=True, slots=True)
class Work(Generic[Result]):
    """A call of a client: one request, or the many that a long list is cut into.

    Attributes:
        parts: the requests, at least one.
        method: the RPC for one of them.
        read: makes the result of a request and its response.
        join: makes one result of those of all parts, in their order.
        stream: the RPC that carries many requests, if there is one.
        failures: why items of the list could not be sent, by place in the caller's list.
    """

    parts: Sequence[Part]
    method: Method
    read: Callable[[Any, Any], Result]
    join: Callable[[Sequence[Result]], Result]
    stream: Method | None = None
    failures: Failures = field(default_factory=dict)

    @property
    def batches(self) -> Batches[Result] | None:
        """The parts as a stream, where there are many and an RPC that streams them."""
        if self.stream is None or len(self.parts) == 1:
            return None
        return Batches(self.parts, lambda part: part, self.stream, self.method, self.read)


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

    def of(self, request_id: str) -> "Answer[Result]":
        """Give the answer with the name of its call in its result or its error."""
        if self.error is not None:
            self.error.request_id = request_id
            return self
        return replace(self, _result=with_call_details(self._result, request_id, None))


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
        if len(results) > 1:
            replies = [one for one in results if isinstance(one, Reply)]
            times = [one.timing for one in replies if one.timing is not None]
            request_id = next((one.request_id for one in replies if one.request_id), "")
            whole = with_call_details(
                self._work.join(results), request_id, reduce(add, times) if times else None
            )
        else:
            whole = results[0]
        return with_failures(whole, self._work.failures)


def with_failures(result: Result, failures: Failures) -> Result:
    """Put the reasons why items were not sent in place of what the server said of placeholders."""
    if not failures:
        return result
    made: Any = result
    errors = dict(sorted((made.errors | failures).items()))
    whole: Result = replace(made, errors=errors)
    return whole


def single(method: Method, request: Message, read: Callable[[Any, Any], Result]) -> Work[Result]:
    """Make work of one request."""
    return Work([Part(request)], method, read, join=lambda results: results[0])
