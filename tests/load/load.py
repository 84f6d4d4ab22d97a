"""A load: what a client process asks of a server, how hard and for how long."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Requests for one method of one server.

    A closed loop has callers, each of which asks again as soon as it is answered. An open loop has
    a rate, at which requests arrive at random (Poisson) whether or not earlier ones are answered,
    and its latencies count from the instant at which a request was due.
    """

    address: str
    group: int
    """Process group of the server, whose CPU seconds are read; 0 for none."""
    method: str
    requests: tuple[bytes, ...]
    """Serialized requests, asked in turn; a stream puts an id before each."""
    texts_per_request: int
    answer_bytes: int
    """Fewest bytes of a whole answer; a shorter one is counted as a failure."""
    callers: int = 0
    """Requests in flight of a closed loop."""
    rate: float = 0.0
    """Requests a second of an open loop; 0 for a closed one."""
    obedient_callers: int = 0
    """Callers of an open loop that share its requests, each of which sends nothing before the delay
    is over that the server asked it for; 0 where nobody obeys."""
    streams: int = 0
    """Streams over which the requests go as messages; 0 for unary calls."""
    connections: int = 1
    timeout: float = 60.0
    """Seconds that a unary request may take from when it was due."""
    warm_up: float = 1.0
    """Seconds before the window, in which nothing counts."""
    seconds: float = 3.0
    """Length of the window."""

    @property
    def shape(self) -> str:
        """How the requests travel, in words."""
        kind = f"stream x {self.streams}" if self.streams else "unary"
        how = f"{self.rate:.0f}/s" if self.rate else f"{self.callers} in flight"
        obey = f" of {self.obedient_callers} obedient callers" if self.obedient_callers else ""
        return f"{kind}, {self.texts_per_request} a message, {how}{obey}"
