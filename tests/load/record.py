"""What a client process saw, request by request, and the figures that follow from it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import grpc
import numpy as np
from numpy.typing import NDArray

from load.load import Load

OK = 0
SHED = grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
UNFINISHED = -1
"""No answer had come when the client stopped waiting."""
WRONG = -2
"""An answer came that was too short to be whole, or a stream's error."""
HELD_BACK = -3
"""An obedient caller did not send it, because the server had asked it to wait."""
NAMES = {code.value[0]: code.name for code in grpc.StatusCode} | {
    UNFINISHED: "UNFINISHED",
    WRONG: "WRONG_ANSWER",
    HELD_BACK: "HELD_BACK",
}
Seconds = NDArray[np.float64]


class LoadError(Exception):
    """A run that was meant to be answered whole was not, so its figures would lie."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One run. Instants are seconds since the window opened; warm-up has negative ones."""

    load: Load
    begun: Seconds
    """When each request was sent, or in an open loop was due: float64 [requests]."""
    ended: Seconds
    """When its answer had come; NaN for none."""
    status: NDArray[np.int16]
    """Its status, or one of the negative numbers above."""
    timing: NDArray[np.float64]
    """Of a sample of unary calls, milliseconds as float64 [calls, 4]: the client's whole latency,
    and the server's own queue, tokenize and compute from its trailers."""
    client_cpu: float
    """CPU seconds of the client in the window."""
    server_cpu: float
    """CPU seconds of the server's processes in the window."""

    @property
    def in_window(self) -> NDArray[np.bool_]:
        """Which requests count.

        Of an open loop those due in the window, so that slow ones cannot leave it; of a closed loop
        those answered in it, since a deep queue answers nothing that it was asked just now.
        """
        instants = self.begun if self.load.rate else np.nan_to_num(self.ended, nan=np.inf)
        return (instants >= 0) & (instants < self.load.seconds)

    @property
    def texts_per_second(self) -> float:
        """Texts answered well in a second.

        A request of many texts is credited by the share of its life that lay in the window: to
        credit it at its end would count up to callers x texts at once.
        """
        ok = self.status == OK
        if self.load.texts_per_request == 1:
            ended = self.ended[ok]
            return int(((ended >= 0) & (ended < self.load.seconds)).sum()) / self.load.seconds
        begun, ended = self.begun[ok], self.ended[ok]
        inside = np.minimum(ended, self.load.seconds) - np.maximum(begun, 0)
        shares = np.clip(inside, 0, None) / np.maximum(ended - begun, 1e-9)
        return float(shares.sum()) * self.load.texts_per_request / self.load.seconds

    @property
    def server_cpu_us(self) -> float:
        """CPU microseconds that the server spent on a text: what a busy machine distorts least."""
        texts = self.texts_per_second * self.load.seconds
        return self.server_cpu / texts * 1e6 if texts else float("nan")

    def latencies(self, status: int = OK) -> Seconds:
        """Return the latencies of the requests that ended so, in seconds."""
        chosen = self.in_window & (self.status == status)
        return (self.ended - self.begun)[chosen]

    def percentile(self, percent: float, status: int = OK) -> float:
        """Return a percentile of the latencies in milliseconds; NaN where there are none."""
        latencies = self.latencies(status)
        return float(np.percentile(latencies, percent)) * 1e3 if latencies.size else float("nan")

    @property
    def settled(self) -> bool:
        """Whether the run lasted longer than its requests wait.

        In a shorter one only the luckiest have been answered, so its latencies would flatter.
        """
        load = self.load
        waiting = load.callers * load.texts_per_request
        return waiting <= self.texts_per_second * (load.warm_up + load.seconds)

    @property
    def sent_per_second(self) -> float:
        """Requests of the window that were sent, a second."""
        return int((self.in_window & (self.status != HELD_BACK)).sum()) / self.load.seconds

    def goodput(self, deadline: float) -> float:
        """Texts a second that were answered well within `deadline` seconds."""
        good = int((self.latencies() <= deadline).sum())
        return good * self.load.texts_per_request / self.load.seconds

    def statuses(self) -> dict[str, int]:
        """Count the requests of the window by status."""
        counts = Counter(self.status[self.in_window].tolist())
        return {NAMES[status]: count for status, count in counts.most_common()}

    def require_ok(self) -> None:
        """Refuse a run in which anything failed.

        Raises:
            LoadError: something failed, or nothing was answered.
        """
        statuses = self.statuses()
        if set(statuses) != {"OK"}:
            raise LoadError(f"{self.load.method}, {self.load.shape}: {statuses or 'no answers'}")

    def summary(self) -> dict[str, object]:
        """Return every figure of the run, for the results."""
        texts = self.texts_per_second * self.load.seconds
        latencies = {"p50_ms": 50, "p90_ms": 90, "p99_ms": 99, "max_ms": 100}
        return {
            "shape": self.load.shape,
            "seconds": self.load.seconds,
            "texts_per_second": self.texts_per_second,
            **{
                name: self.percentile(percent) if self.settled else float("nan")
                for name, percent in latencies.items()
            },
            "statuses": self.statuses(),
            "server_timing_p50_ms": self._timing(),
            "client_cpu_us_per_text": self.client_cpu / texts * 1e6 if texts else float("nan"),
            "server_cpu_us_per_text": self.server_cpu_us,
            "server_cpus_busy": self.server_cpu / self.load.seconds,
        }

    def _timing(self) -> dict[str, float]:
        """Medians of the client's latency and of the server's parts of the same calls."""
        if not len(self.timing):
            return {}
        names = ("client", "queue", "tokenize", "compute")
        return dict(zip(names, np.median(self.timing, axis=0).tolist(), strict=True))
