"""Calls as values: the method, the requests, and how to read the responses.

The modules of the services create these values, and the two clients execute them. So everything
about a request or a response is written only once.
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

# A larger request is sent as a unary call, because a request that the server refuses as too large
# ends the whole stream. Parts of lists are smaller, unless a single text is so large.
MAX_STREAM_REQUEST_BYTES = 3 << 20
# Fields of requests without other texts: if such a request has one item, that item is too large.
_ONLY_FIELDS = ("texts", "pairs")


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC.

    Attributes:
        path: gRPC path, `/package.Service/Name`.
        request: class of the requests.
        response: class of the responses.
        kind: gRPC's name for the cardinality.
    """

    path: str
    request: type[Message]
    response: type[Message]
    kind: str = "unary_unary"


@dataclass(frozen=True, slots=True)
class Part:
    """One request of a piece of work.

    Attributes:
        request: the request.
        size: number of the caller's texts or pairs in it, for progress.
        offsets: start of each field of the request in the caller's list.
        failures: errors of items that cannot be sent; the request has placeholders for them.
        gap: creates the result of a failed request of one item, if the caller allows partial
            results.
    """

    request: Message
    size: int = 0
    offsets: Mapping[str, int] = field(default_factory=dict)
    failures: Failures = field(default_factory=dict)
    gap: Callable[[InvalidRequest], Any] | None = None

    @property
    def oversize(self) -> bool:
        """Whether it must be sent as a unary call instead of over a stream."""
        return self.request.ByteSize() > MAX_STREAM_REQUEST_BYTES

    def explain(self, error: SemserveError) -> SemserveError:
        """Translate the indices in an error to those of the caller's list."""
        for name, offset in self.offsets.items():
            error = with_offset(error, name, offset)
        return error

    def failed(self, index: int, error: SemserveError) -> "Answer[Any]":
        """Create the answer to a request that failed as a whole."""
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
    """The requests of one stream, which may be infinite.

    Attributes:
        source: the caller's argument; for the asyncio client also an async iterable.
        part: creates the request of one item of it.
        method: the RPC of the stream.
        single: the RPC of a unary call.
        read: creates the result from a request and its response.
    """

    source: Iterable[Any] | AsyncIterable[Any]
    part: Callable[[Any], Part]
    method: Method
    single: Method
    read: Callable[[Any, Any], Result]

    def answered(self, index: int, part: Part, response: Any) -> "Answer[Result]":
        """Create the answer to a request from its response."""
        return Answer(index, None, with_failures(self.read(part.request, response), part.failures))


@dataclass(frozen=True, slots=True)
class Work(Generic[Result]):
    """A call of a client: one request, or the several requests of a long list.

    Attributes:
        parts: the requests, at least one.
        method: the RPC of one request.
        read: creates the result from a request and its response.
        join: joins the results of all parts, in their order.
        stream: the RPC for several requests, if there is one.
        failures: errors of items that cannot be sent, by index in the caller's list.
    """

    parts: Sequence[Part]
    method: Method
    read: Callable[[Any, Any], Result]
    join: Callable[[Sequence[Result]], Result]
    stream: Method | None = None
    failures: Failures = field(default_factory=dict)

    @property
    def batches(self) -> Batches[Result] | None:
        """The parts as a stream, if there are several and an RPC streams them."""
        if self.stream is None or len(self.parts) == 1:
            return None
        return Batches(self.parts, lambda part: part, self.stream, self.method, self.read)


@dataclass(frozen=True, slots=True)
class Answer(Generic[Result]):
    """The answer of a stream to one batch.

    Attributes:
        index: index of the batch in the caller's batches, from 0.
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
        """Set the request id of the call in the result or the error."""
        if self.error is not None:
            self.error.request_id = request_id
            return self
        return replace(self, _result=with_call_details(self._result, request_id, None))


class Results(Generic[Result]):
    """Collects the results of the parts of some work, which arrive in any order.

    Args:
        work: the work.
        progress: called with the finished and the total number of texts, if there are several
            parts.
    """

    def __init__(self, work: Work[Result], progress: Callable[[int, int], None]) -> None:
        self._work = work
        self._progress = progress
        self._found: dict[int, Result] = {}

    def take(self, answer: Answer[Result]) -> None:
        """Store the result of one part.

        Raises:
            SemserveError: the part failed, and so the whole call.
        """
        self._found[answer.index] = answer.result
        parts = self._work.parts
        if len(parts) > 1:
            done = sum(parts[index].size for index in self._found)
            self._progress(done, sum(part.size for part in parts))

    def whole(self) -> Result:
        """Join all results."""
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
    """Replace the server's errors for placeholders by the reasons why items were not sent."""
    if not failures:
        return result
    made: Any = result
    errors = dict(sorted((made.errors | failures).items()))
    whole: Result = replace(made, errors=errors)
    return whole


def single(method: Method, request: Message, read: Callable[[Any, Any], Result]) -> Work[Result]:
    """Create work with one request."""
    return Work([Part(request)], method, read, join=lambda results: results[0])
