"""How a client reaches its server: address, deadlines, retries. Both clients start from here."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import grpc

DEFAULT_ADDRESS = "127.0.0.1:50051"
_MEBIBYTE = 1 << 20
# The answer to a large matrix is longer than the 4 MiB that gRPC allows by itself.
_MAX_RESPONSE_BYTES = 64 * _MEBIBYTE


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """When a call that a server could not take is sent again.

    The statuses are UNAVAILABLE and RESOURCE_EXHAUSTED: a server sends both before it has
    begun, so sending again repeats no work. What the server itself says about when to come
    back is obeyed in place of the back-off.

    Attributes:
        attempts: most times that a request is sent, from 1 (no retry) to 5 (gRPC's own bound).
        initial_backoff: seconds before the second attempt, give or take a fifth.
        max_backoff: most seconds before any attempt.
        multiplier: how many times longer each wait is than the last.
    """

    attempts: int = 4
    initial_backoff: float = 0.1
    max_backoff: float = 2.0
    multiplier: float = 2.0

    def __post_init__(self) -> None:
        most = 5
        if not 1 <= self.attempts <= most:
            raise ValueError(f"attempts is {self.attempts}, not from 1 to {most}")

    def backoff(self, attempt: int) -> float:
        """Seconds to wait after the first, second, … attempt has failed."""
        return float(min(self.initial_backoff * self.multiplier ** (attempt - 1), self.max_backoff))

    def service_config(self) -> dict[str, Any]:
        """Make the gRPC service config: these retries, and round robin over the replicas."""
        method: dict[str, Any] = {"name": [{}]}
        if self.attempts > 1:
            method["retryPolicy"] = {
                "maxAttempts": self.attempts,
                "initialBackoff": f"{self.initial_backoff}s",
                "maxBackoff": f"{self.max_backoff}s",
                "backoffMultiplier": self.multiplier,
                "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
            }
        return {"loadBalancingConfig": [{"round_robin": {}}], "methodConfig": [method]}


class Options:
    """The arguments that both clients take; `Client` and `AsyncClient` tell what they mean."""

    def __init__(  # noqa: PLR0913 - each is a choice of its own, and all but one by name
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        timeout: float | None = 30.0,
        retry: Retry | None = None,
        key: str | None = None,
        metadata: Mapping[str, str | bytes] | None = None,
        credentials: "grpc.ChannelCredentials | None" = None,
        channel_options: Sequence[tuple[str, Any]] = (),
        wait_for_ready: bool = False,
        chunk: int = 256,
        in_flight: int = 8,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Keep the choices; nothing is connected before the first call.

        Args:
            address: `host:port`, or any other name that gRPC resolves.
            timeout: seconds that a call may take unless it says otherwise, of a stream the
                seconds that may pass without an answer; `None` for no bound.
            retry: when a request is sent again; by default four attempts in all.
            key: of a server that wants one. Without `credentials` the network can read it.
            metadata: sent with every call.
            credentials: for TLS; without them the connection is not encrypted.
            channel_options: further gRPC channel arguments; they win over ours.
            wait_for_ready: wait for a server that does not answer yet, until the deadline.
            chunk: most texts of one request; longer lists are cut.
            in_flight: most requests of one stream that wait for their answer.
            progress: called with the texts done and the texts in all while a long list proceeds.

        Raises:
            ValueError: `chunk`, `in_flight` or `timeout` is not positive.
        """
        for name, number in (("chunk", chunk), ("in_flight", in_flight), ("timeout", timeout)):
            if number is not None and number <= 0:
                raise ValueError(f"{name} is {number}, not positive")
        self.address = address
        self.retry = retry or Retry()
        self._timeout = timeout
        bearer = {"authorization": f"Bearer {key}"} if key else {}
        self._metadata = tuple((bearer | dict(metadata or {})).items())
        self._credentials = credentials
        self._channel_options = channel_options
        self._wait_for_ready = wait_for_ready
        self._chunk = chunk
        self._in_flight = in_flight
        self._progress = progress or (lambda _done, _total: None)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.address}>"

    def _channel_arguments(self) -> list[tuple[str, Any]]:
        ours = {
            "grpc.service_config": json.dumps(self.retry.service_config()),
            "grpc.max_receive_message_length": _MAX_RESPONSE_BYTES,
        }
        return list((ours | dict(self._channel_options)).items())

    def _seconds(self, timeout: float | None) -> float | None:
        """The bound of one call: its own, or the client's; infinity is none."""
        chosen = self._timeout if timeout is None else timeout
        return None if chosen is None or math.isinf(chosen) else chosen

    def _how(self, timeout: float | None) -> dict[str, Any]:
        """The arguments that gRPC takes beside a request."""
        return {
            "timeout": timeout,
            "metadata": self._metadata,
            "wait_for_ready": self._wait_for_ready,
        }
