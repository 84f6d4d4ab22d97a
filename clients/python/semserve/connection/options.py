"""The options of both clients: address, deadlines, retries."""

import json
import os
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from numbers import Real
from typing import TYPE_CHECKING, Any, Final, Literal

from semserve.connection.address import DEFAULT_ADDRESS, check_address, is_local, proxy_variable
from semserve.connection.metadata import check_key, check_metadata, joined, with_request_id
from semserve.connection.reply import trailing
from semserve.connection.retry import Retry
from semserve.errors import ClientClosed, Overloaded, SemserveError, Unavailable, from_call

if TYPE_CHECKING:
    import grpc

ADDRESS_VARIABLE = "SEMSERVE_ADDRESS"
KEY_VARIABLE = "SEMSERVE_KEY"
DEFAULT_TIMEOUT = 30.0
"""Default timeout of a call, in seconds."""
_MEBIBYTE = 1 << 20
# The reply to a large matrix is larger than gRPC's default limit of 4 MiB.
_MAX_RESPONSE_BYTES = 64 * _MEBIBYTE
# Random variation of waits, so that callers that were rejected together do not retry together.
_JITTER = 0.2
_ENABLE_PROXY = "grpc.enable_http_proxy"
# gRPC's messages if no server was reached. A server that is not ready has another message.
NOT_REACHED = re.compile(
    r"failed to connect|errors? resolving|DNS (resolution|query)|proxy|connection refused"
    r"|handshake|timed? ?out",
    re.IGNORECASE,
)
_PROXY_ADVICE = (
    "{} is set, so gRPC connects through that proxy: unset it, or name the host in no_proxy"
)


class _Default(Enum):
    """The type of `CLIENT_TIMEOUT`."""

    CLIENT = "CLIENT_TIMEOUT"

    def __repr__(self) -> str:
        return self.value


CLIENT_TIMEOUT: Final = _Default.CLIENT
"""Value of a call's `timeout` that means the client's timeout."""
Timeout = float | None | Literal[_Default.CLIENT]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """The gRPC arguments of one call besides its requests.

    Attributes:
        timeout: seconds, or `None` for no deadline.
        metadata: the metadata, including the request id.
        request_id: the request id.
    """

    timeout: float | None
    metadata: tuple[tuple[str, str | bytes], ...]
    request_id: str


class Options:
    """The arguments of `Client` and `AsyncClient`."""

    def __init__(  # noqa: PLR0913 - each is a choice of its own, and all but one by name
        self,
        address: str | None = None,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        retry: Retry | None = None,
        key: str | None = None,
        metadata: Mapping[str, str | bytes] | None = None,
        credentials: "grpc.ChannelCredentials | None" = None,
        channel_options: Sequence[tuple[str, Any]] = (),
        wait_for_ready: bool = False,
        health_checks: bool = False,
        chunk: int = 256,
        in_flight: int = 8,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Store the options. The first call opens the connection.

        Args:
            address: `host:port`, `unix:path`, or another gRPC target. Default: the environment
                variable SEMSERVE_ADDRESS, or 127.0.0.1:50051. The environment's HTTP proxy is used
                for other machines, not for this one.
            timeout: default timeout of calls in seconds; for a stream, most seconds without an
                answer. `None` for no deadline.
            retry: when a request is sent again; by default four attempts in all.
            key: API key, if the server requires one; white space around it is removed. Default
                without an address and a key: the environment variable SEMSERVE_KEY; `""` for no
                key. Without `credentials` the key is sent unencrypted.
            metadata: sent with every call. Names are lower-case ASCII; values are printable ASCII,
                or bytes if the name ends in `-bin`.
            credentials: for TLS; without them the connection is not encrypted.
            channel_options: further gRPC channel arguments; they override the client's.
            wait_for_ready: wait for a server that does not answer yet, until the deadline.
            health_checks: watch the health of each replica of the address, and send calls only to
                those that are ready. The server must answer health checks without a key.
            chunk: most texts of one request; longer lists are split.
            in_flight: most unanswered requests of one stream.
            progress: called with the finished and the total number of texts during a long list.

        Raises:
            ValueError: `chunk`, `in_flight` or `timeout` is not positive, or gRPC cannot use the
                address, the key or the metadata.
            TypeError: the address, the key or the metadata has the wrong type.
        """
        for name, number in (("chunk", chunk), ("in_flight", in_flight), ("timeout", timeout)):
            _check_positive(name, number)
        if address is None:
            address = os.environ.get(ADDRESS_VARIABLE) or DEFAULT_ADDRESS
            key = os.environ.get(KEY_VARIABLE) if key is None else key
        self.address = check_address(address)
        self.retry = retry or Retry()
        self._timeout = timeout
        self._metadata = check_metadata(metadata)
        if key := check_key(key):
            if "authorization" in dict(self._metadata):
                raise ValueError(
                    "metadata has authorization, which key= makes: give one of the two"
                )
            self._metadata = (("authorization", f"Bearer {key}"), *self._metadata)
        self._credentials = credentials
        self._channel_options = channel_options
        self._wait_for_ready = wait_for_ready
        self._health_checks = health_checks
        self._chunk = chunk
        self._in_flight = in_flight
        self._progress = progress or (lambda _done, _total: None)
        self._closed = False
        self._prepare()

    def _prepare(self) -> None:
        """Initialise the state of a subclass."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address}>"

    def _channel_arguments(self) -> list[tuple[str, Any]]:
        arguments: dict[str, Any] = {
            "grpc.service_config": json.dumps(
                self.retry.service_config(health_checks=self._health_checks)
            ),
            "grpc.max_receive_message_length": _MAX_RESPONSE_BYTES,
        }
        if is_local(self.address):
            arguments[_ENABLE_PROXY] = 0
        return list((arguments | dict(self._channel_options)).items())

    def _call(self, timeout: Timeout, metadata: Mapping[str, str | bytes] | None) -> Call:
        """Determine the timeout and the metadata of one call.

        Raises:
            ValueError, TypeError: as the constructor.
        """
        if self._closed:
            raise ClientClosed
        _check_positive("timeout", None if timeout is CLIENT_TIMEOUT else timeout)
        chosen = self._timeout if timeout is CLIENT_TIMEOUT else timeout
        seconds = None if chosen is None or chosen > LONGEST_SECONDS else chosen
        both = joined(self._metadata, check_metadata(metadata))
        sent, request_id = with_request_id(both)
        return Call(timeout=seconds, metadata=sent, request_id=request_id)

    def _call_arguments(self, call: Call, timeout: float | None) -> dict[str, Any]:
        """Return the gRPC arguments besides the request."""
        return {
            "timeout": timeout,
            "metadata": call.metadata,
            "wait_for_ready": self._wait_for_ready,
        }

    def _error(self, failed: "grpc.RpcError", call: Call) -> SemserveError:
        """Create the error of a failed call, with what this client knows of the cause."""
        error = from_call(failed)
        if self._closed and error.code == ClientClosed.code:
            error = ClientClosed()
        grpc_call: Any = failed
        error.request_id, _ = trailing(grpc_call.trailing_metadata(), call.request_id)
        through = dict(self._channel_options).get(_ENABLE_PROXY, 1)
        if isinstance(error, Unavailable) and NOT_REACHED.search(str(error)) and through:
            variable = proxy_variable(self.address, os.environ)
            if variable:
                error.args = (f"{error}; {_PROXY_ADVICE.format(variable)}",)
        return error

    def _pause(self, error: SemserveError, attempt: int, left: float | None) -> float | None:
        """Return the seconds until a request is sent again; `None` if it is not, or too late.

        gRPC itself retries UNAVAILABLE.
        """
        if not isinstance(error, Overloaded):
            return None
        seconds = self.retry.wait(error, attempt)
        if seconds is None or (left is not None and seconds >= left):
            return None
        if error.retry_after is None:
            seconds *= random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - no secret
        return seconds


LONGEST_SECONDS = 10.0 * 365 * 86_400
"""Timeouts longer than ten years mean no deadline: gRPC's clock overflows at about 292 years,
and a call would then fail immediately."""


def _check_positive(name: str, number: float | None) -> None:
    if number is None:
        return
    if isinstance(number, bool) or not isinstance(number, Real):
        raise TypeError(f"{name} must be a number, not {type(number).__name__}")
    if not number > 0:
        raise ValueError(f"{name} is {number:g}, not positive")
