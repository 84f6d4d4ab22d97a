"""The errors that semserve raises on purpose, each with the status that a caller gets.

SemserveError
├── InvalidRequest      INVALID_ARGUMENT    the caller must change the request; names the fields
├── Unauthenticated     UNAUTHENTICATED     no valid API key
├── PermissionDenied    PERMISSION_DENIED   the key does not have the right
├── ModelNotFound       NOT_FOUND           no model of that name is loaded
├── Overloaded          RESOURCE_EXHAUSTED  a limit is exceeded; retry later
├── NotReady            UNAVAILABLE         the server is starting
├── Draining            UNAVAILABLE         the server is stopping
├── LoadFailed          FAILED_PRECONDITION a bundle cannot be loaded; the present model stays
├── NoSuchTask          FAILED_PRECONDITION no loaded model has the task of the call
├── Unsupported         UNIMPLEMENTED       the server, or this model, cannot do what is asked
├── DeadlineExceeded    DEADLINE_EXCEEDED   the deadline passed in the queue
└── InferenceFailed     INTERNAL            ONNX Runtime failed; only the log has the cause
StartupError            no RPC: one line on standard error, exit code 2
├── BundleError         an invalid bundle
│   ├── BundleUnreadable  a failure of the disk or the memory, which may pass
│   ├── LoadHangs         loading the bundle does not return
│   └── MisplacedNodes    nodes of the graph would not run on the device
├── ConfigError         settings that cannot work
└── JobRefused          the input or the output of a bulk job is wrong
JobFailed               no RPC: a bulk job stopped; one line, exit code 1
EngineFailed            no RPC: health to NOT_SERVING, one line, exit code 1
ProcessFailed           no RPC: the other processes drain, one line, exit code 1

`rpc/status.py` translates them to statuses. This module knows neither gRPC nor models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal


class SemserveError(Exception):
    """An error that is reported to the caller. Its text is sent to the caller."""

    status: ClassVar[str]


@dataclass(frozen=True, slots=True)
class Violation:
    """What is wrong with one field, as in `google.rpc.BadRequest`."""

    field: str
    """Path of the field in the request, such as `pairs[3].premise`; empty for the whole request."""
    description: str

    def __str__(self) -> str:
        return f"{self.field}: {self.description}" if self.field else self.description


class InvalidRequest(SemserveError):
    """The request is invalid. At least one violation has the reason."""

    status = "INVALID_ARGUMENT"

    def __init__(self, *violations: Violation) -> None:
        super().__init__("; ".join(map(str, violations)))
        self.violations = violations

    @classmethod
    def of(cls, field: str, description: str) -> InvalidRequest:
        """Create an error with one violation, the common case."""
        return cls(Violation(field, description))


class Unauthenticated(SemserveError):
    """The call has no valid key. The text does not depend on the reason."""

    status = "UNAUTHENTICATED"


class PermissionDenied(SemserveError):
    """The caller is authenticated and may not do this."""

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
"""The limits that an overload can exceed. The metrics count by this value."""


class Overloaded(SemserveError):
    """The server is overloaded. No part of the request was admitted."""

    status = "RESOURCE_EXHAUSTED"

    def __init__(self, message: str, *, retry_after: float, cause: Cause) -> None:
        super().__init__(message)
        self.cause = cause
        self.retry_after = retry_after
        """Seconds after which the request should fit."""


class NotReady(SemserveError):
    """The server is starting and has loaded no model yet."""

    status = "UNAVAILABLE"


class Draining(SemserveError):
    """The server is stopping and accepts no new work."""

    status = "UNAVAILABLE"


class LoadFailed(SemserveError):
    """The bundle of a LoadModel call cannot be loaded."""

    status = "FAILED_PRECONDITION"


class NoSuchTask(SemserveError):
    """No loaded model has the task of a call whose API cannot name a model in the request."""

    status = "FAILED_PRECONDITION"


class Unsupported(SemserveError):
    """The request is valid in the API of the call, but this server or model does not support it."""

    status = "UNIMPLEMENTED"


class DeadlineExceeded(SemserveError):
    """The caller's deadline passed while the request waited. The request did not run."""

    status = "DEADLINE_EXCEEDED"


class InferenceFailed(SemserveError):
    """A run failed. The cause is chained and logged, and not sent to the caller."""

    status = "INTERNAL"

    def __init__(self) -> None:
        super().__init__("inference failed")


class StartupError(Exception):
    """The server cannot start. The text is one line that says what to do."""


class BundleError(StartupError):
    """A bundle is missing or broken, or its model does not reproduce its golden answers."""


class BundleUnreadable(BundleError):
    """A bundle could not be read or loaded because of the disk or the memory. It may be valid."""


class LoadHangs(BundleError):
    """Loading a bundle did not return in time. The load cannot be stopped, and is abandoned."""


class MisplacedNodes(BundleError):
    """Nodes of a graph would run on the CPU, although its session is on another device."""


class ConfigError(StartupError):
    """The settings cannot work on this machine."""


class JobRefused(StartupError):
    """The input, the output or an option of a bulk job is wrong. Nothing was computed."""


class JobFailed(Exception):
    """A bulk job stopped. The shards that are complete stay, and the same command continues."""


class EngineFailed(Exception):
    """A batch worker died or a run does not return. The process must be restarted."""


class ProcessFailed(Exception):
    """One of several worker processes ended unexpectedly, or did not end in time."""


def free_frames(error: BaseException) -> None:
    """Free what the tracebacks of an error and of its causes keep alive.

    A stored error keeps the local variables of every function that it passed through, including the
    weights of a model. If one of these variables refers to the error, the memory stays until the
    cyclic collector runs. Call this after the error was handled and logged.
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
