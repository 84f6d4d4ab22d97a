"""What every result of a call tells beside its answer: the name of the request, and the times."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from semserve.connection.metadata import REQUEST_ID

Result = TypeVar("Result")

SERVER_TIMING = "server-timing"
_DURATION = re.compile(r"\b(queue|tokenize|compute);dur=([0-9.]+)")
_MILLISECONDS = 1000


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the server spent the time of a call, in seconds.

    Attributes:
        queue: waiting for a run of the model.
        tokenize: tokenizing.
        compute: in runs of the model.
    """

    queue: float = 0.0
    tokenize: float = 0.0
    compute: float = 0.0

    def __add__(self, other: "Timing") -> "Timing":
        return Timing(
            self.queue + other.queue,
            self.tokenize + other.tokenize,
            self.compute + other.compute,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a result tells about its call.

    Attributes:
        request_id: the `x-request-id` of the call, which the server's logs name too. A call that is
            sent as many requests has one.
        timing: the server's own times, the sum of all requests of the call; `None` where it did not
            tell them, as on streams, which `embed` and `classify` use for long lists.
    """

    request_id: str = ""
    timing: Timing | None = None


def with_call_details(result: Result, request_id: str, timing: Timing | None) -> Result:
    """Give a result that tells about its call; a list of results has no place for that."""
    if not isinstance(result, Reply):
        return result
    made: Any = replace(result, request_id=request_id, timing=timing)
    return made  # type: ignore[no-any-return]  # replace() keeps the type of `result`


def trailing(
    trailers: Iterable[tuple[str, Any]] | None, request_id: str
) -> tuple[str, Timing | None]:
    """Read the request's name and times from a call's trailers; `request_id` is what was sent."""
    found = dict(trailers or ())
    times = {
        name: float(duration) / _MILLISECONDS
        for name, duration in _DURATION.findall(str(found.get(SERVER_TIMING, "")))
    }
    return str(found.get(REQUEST_ID, request_id)), Timing(**times) if times else None
