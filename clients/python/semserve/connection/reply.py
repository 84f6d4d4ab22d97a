"""What every result has besides its content: the request id, and the server's times."""

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
    """The server's times of a call, in seconds.

    Attributes:
        queue: waiting for a run of the model.
        tokenize: tokenising.
        compute: runs of the model.
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
    """The base class of results.

    Attributes:
        request_id: the `x-request-id` of the call, which the server's logs contain. A call that is
            sent as several requests has one id.
        timing: the server's times, summed over all requests of the call; `None` if the server did
            not send them, as on streams, which `embed` and `classify` use for long lists.
    """

    request_id: str = ""
    timing: Timing | None = None


def with_call_details(result: Result, request_id: str, timing: Timing | None) -> Result:
    """Add the request id and times to a result; a list of results is returned unchanged."""
    if not isinstance(result, Reply):
        return result
    made: Any = replace(result, request_id=request_id, timing=timing)
    return made  # type: ignore[no-any-return]  # replace() keeps the type of `result`


def trailing(
    trailers: Iterable[tuple[str, Any]] | None, request_id: str
) -> tuple[str, Timing | None]:
    """Read the request id and times from the trailers; `request_id` is the id that was sent."""
    found = dict(trailers or ())
    times = {
        name: float(duration) / _MILLISECONDS
        for name, duration in _DURATION.findall(str(found.get(SERVER_TIMING, "")))
    }
    return str(found.get(REQUEST_ID, request_id)), Timing(**times) if times else None
