"""Three times more than fits, with deadlines: the rest must be refused, at once and cheaply."""

from __future__ import annotations

from statistics import median

from load.bench import Bench
from load.figure import Figure, of_rounds
from load.record import SHED, Record

CALLERS = 64
TIMES = 3
DEADLINE = 0.5


def measure(bench: Bench) -> list[Figure]:
    """Return goodput over peak, and how long a refusal takes."""
    shares: list[float] = []
    overloaded: list[Record] = []
    with bench.semserve(bench.embedder, variant=bench.variant) as server:
        for _ in range(bench.settings.rounds):
            closed = server.load(bench.texts.short, callers=CALLERS, **bench.window)
            peak = bench.drive("overload", server, closed)
            peak.require_ok()
            over = server.load(
                bench.texts.short,
                rate=TIMES * peak.texts_per_second,
                timeout=DEADLINE,
                **bench.window,
            )
            overloaded.append(bench.drive("overload", server, over))
            shares.append(overloaded[-1].goodput(DEADLINE) / peak.texts_per_second)
    goodput = median(record.goodput(DEADLINE) for record in overloaded)
    return [
        Figure(
            name=f"{TIMES}x overload, {DEADLINE * 1e3:.0f} ms deadlines: goodput over peak",
            bar=0.95,
            detail=f"{goodput:.4g} texts/s in time; of the last round {_shares(overloaded[-1])}",
            **of_rounds(shares),
        ),
        _refusals(overloaded),
    ]


def _refusals(overloaded: list[Record]) -> Figure:
    name = f"{TIMES}x overload: median time of a refusal"
    times = [record.percentile(50, SHED) for record in overloaded]
    if not all(record.latencies(SHED).size for record in overloaded):
        return Figure(
            name=name, unit="ms", bar=10, at_least=False, detail="nothing was refused at the door"
        )
    slowest = max(record.percentile(99, SHED) for record in overloaded)
    return Figure(
        name=name, unit="ms", bar=10, at_least=False, detail=f"p99 {slowest:.3g} ms",
        **of_rounds(times),
    )  # fmt: skip


def _shares(record: Record) -> str:
    statuses = record.statuses()
    total = sum(statuses.values())
    return ", ".join(f"{count / total:.0%} {name}" for name, count in statuses.items())
