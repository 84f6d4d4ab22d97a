"""When a request that a server could not take is sent again."""

from dataclasses import dataclass
from typing import Any

from semserve.errors import Overloaded, SemserveError, Unavailable


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

    def wait(self, error: SemserveError, attempt: int) -> float | None:
        """Seconds until a request is sent again that failed at its first, second, … attempt.

        `None` where it is not sent again: the error would come again, the attempts are used up, or
        the server asks not to be tried again.
        """
        if not isinstance(error, Overloaded | Unavailable) or attempt >= self.attempts:
            return None
        if isinstance(error, Overloaded) and error.final:
            return None
        asked = error.retry_after if isinstance(error, Overloaded) else None
        return self.backoff(attempt) if asked is None else asked

    def service_config(self, *, health_checks: bool = False) -> dict[str, Any]:
        """Make the gRPC service config: retries of UNAVAILABLE, and round robin over the replicas.

        RESOURCE_EXHAUSTED is the status of a message over a limit too, and gRPC cannot tell the
        two apart: the client sends again by itself what was refused with it.

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
