"""Every error that semserve raises on purpose, each with the status that a caller sees.

SemserveError
├── InvalidRequest      INVALID_ARGUMENT    the caller must change the request; names the fields
├── Unauthenticated     UNAUTHENTICATED     no key, or none that is known
├── PermissionDenied    PERMISSION_DENIED   the key is not for that
├── ModelNotFound       NOT_FOUND           no model of that name is loaded
├── Overloaded          RESOURCE_EXHAUSTED  the queue is full; try again after a while
├── NotReady            UNAVAILABLE         starting
├── Draining            UNAVAILABLE         stopping
├── LoadFailed          FAILED_PRECONDITION a bundle cannot be served; what was served still is
├── DeadlineExceeded    DEADLINE_EXCEEDED   the deadline passed in the queue
└── InferenceFailed     INTERNAL            ONNX Runtime failed; the cause only in the log
StartupError            no RPC: one line on standard error, exit code 2
├── BundleError         a bundle that does not add up
│   ├── BundleUnreadable  the disk or the memory would not have it, which may pass
│   └── LoadHangs         loading it does not return
└── ConfigError         settings that cannot be served
EngineFailed            no RPC: health to NOT_SERVING, one line, exit code 1
ProcessFailed           no RPC: the other processes drain, one line, exit code 1

What happens to them is decided in one place, `services/status.py`. This module knows neither gRPC
nor the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal


class SemserveError(Exception):
    """An error that a caller is told about. Its text goes to the caller."""

    status: ClassVar[str]


@dataclass(frozen=True, slots=True)
class Violation:
    """What is wrong with one field, as in `google.rpc.BadRequest`."""

    field: str
    """Path of the field in the request, such as `pairs[3].premise`; empty for all of it."""
    description: str

    def __str__(self) -> str:
        return f"{self.field}: {self.description}" if self.field else self.description


class InvalidRequest(SemserveError):
    """The request cannot be answered as it is; at least one violation says why."""

    status = "INVALID_ARGUMENT"

    def __init__(self, *violations: Violation) -> None:
        super().__init__("; ".join(map(str, violations)))
        self.violations = violations

    @classmethod
    def of(cls, field: str, description: str) -> InvalidRequest:
        """Make the common case: one field."""
        return cls(Violation(field, description))


class Unauthenticated(SemserveError):
    """The server wants a key and was given none that it knows. The text says nothing of it."""

    status = "UNAUTHENTICATED"


class PermissionDenied(SemserveError):
    """The caller is known and may not do that."""

    status = "PERMISSION_DENIED"


class ModelNotFound(SemserveError):
    """No model of that name is loaded."""

    status = "NOT_FOUND"


Cause = Literal[
    "queue_entries",
    "queue_tokens",
    "queue_characters",
    "queue_scores",
    "unread_bytes",
    "open_streams",
    "deadline",
    "rate",
]
"""What there may be too much of; the metrics count by it."""


class Overloaded(SemserveError):
    """The queue cannot hold the request; nothing of it was admitted."""

    status = "RESOURCE_EXHAUSTED"

    def __init__(self, message: str, *, retry_after: float, cause: Cause) -> None:
        super().__init__(message)
        self.cause = cause
        self.retry_after = retry_after
        """Seconds after which the queue is expected to have room."""


class NotReady(SemserveError):
    """The server is starting: no model is warm yet."""

    status = "UNAVAILABLE"


class Draining(SemserveError):
    """The server is stopping and takes no new work."""

    status = "UNAVAILABLE"


class LoadFailed(SemserveError):
    """A bundle that a caller wants loaded cannot be served."""

    status = "FAILED_PRECONDITION"


class DeadlineExceeded(SemserveError):
    """The caller's deadline passed while the request waited; it was not run."""

    status = "DEADLINE_EXCEEDED"


class InferenceFailed(SemserveError):
    """A run failed. The cause is chained and logged, never told."""

    status = "INTERNAL"

    def __init__(self) -> None:
        super().__init__("inference failed")


class StartupError(Exception):
    """The server cannot start; the text is one line that says what to do."""


class BundleError(StartupError):
    """A bundle is missing, broken, or does not answer as it should."""


class BundleUnreadable(BundleError):
    """A bundle could not be read or loaded for want of disk or memory; it may be whole."""


class LoadHangs(BundleError):
    """A bundle's load did not return in time. It cannot be ended, and is left to itself."""


class ConfigError(StartupError):
    """The settings cannot be served on this machine."""


class EngineFailed(Exception):
    """A worker died or a run does not return: the process must be started anew."""


class ProcessFailed(Exception):
    """One of several server processes ended by itself, or would not end."""


def free_frames(error: BaseException) -> None:
    """Free what the tracebacks of an error, and of those that caused it, keep alive.

    An error that is stored anywhere keeps the local variables of every function that it passed, a
    model's weights among them; and where one of them refers to the error, until Python looks for
    cycles. To be called once the error has been handled and logged.
    """
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        one = todo.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        one.__traceback__ = None
        todo += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            todo += one.exceptions
