"""When a failed request is sent again."""

from dataclasses import dataclass
from typing import Any

from semserve.errors import Overloaded, SemserveError, Unavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """When a failed request is sent again.

    The statuses are UNAVAILABLE and RESOURCE_EXHAUSTED: a server sends both before it starts the
    work, so a retry repeats no work. A delay that the server sends replaces the back-off.

    Attributes:
        attempts: most times that a request is sent, from 1 (no retry) to 5 (gRPC's limit).
        initial_backoff: seconds before the second attempt, plus or minus 20 %.
        max_backoff: most seconds before any attempt.
        multiplier: factor between two successive waits.
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
        """Return the seconds to wait after the given attempt, from 1, has failed."""
        return float(min(self.initial_backoff * self.multiplier ** (attempt - 1), self.max_backoff))

    def wait(self, error: SemserveError, attempt: int) -> float | None:
        """Return the seconds until the next attempt, after the given attempt has failed.

        `None` if there is no next attempt: the error is permanent, the attempts are used up, or the
        server asks not to retry.
        """
        if not isinstance(error, Overloaded | Unavailable) or attempt >= self.attempts:
            return None
        if isinstance(error, Overloaded) and error.final:
            return None
        delay = error.retry_after if isinstance(error, Overloaded) else None
        return self.backoff(attempt) if delay is None else delay

    def service_config(self, *, health_checks: bool = False) -> dict[str, Any]:
        """Return the gRPC service config: retries of UNAVAILABLE, and round robin over replicas.

        RESOURCE_EXHAUSTED is also the status of a message over a limit, and gRPC cannot distinguish
        the two. So the client itself retries it.

        Args:
            health_checks: each connection watches the health of its replica, and calls go to
                replicas that are SERVING.
        """
        method: dict[str, Any] = {"name": [{}]}
        if self.attempts > 1:
            method["retryPolicy"] = {
                "maxAttempts": self.attempts,
                "initialBackoff": f"{self.initial_backoff}s",
                "maxBackoff": f"{self.max_backoff}s",
                "backoffMultiplier": self.multiplier,
                "retryableStatusCodes": ["UNAVAILABLE"],
            }
        config = {"loadBalancingConfig": [{"round_robin": {}}], "methodConfig": [method]}
        return config | {"healthCheckConfig": {"serviceName": ""}} if health_checks else config
