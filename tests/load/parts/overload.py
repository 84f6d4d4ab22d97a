"""Three times more than fits, with deadlines: the rest must be refused, at once and cheaply."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from statistics import median

from load.bench import Bench, alternate
from load.figure import Figure, of_rounds
from load.record import SHED, Record
from load.server import Server

TIMES = 3
DEADLINE = 0.5
CALLERS = {1: 64, 8: 16}
"""Texts of a call, with as many callers as bring the server to its peak."""


@dataclass(frozen=True, slots=True)
class Overload:
    """One round: the peak of a closed loop, and the open loop that asks for a multiple of it."""

    peak: Record
    over: Record

    @property
    def share(self) -> float:
        """Goodput over the peak."""
        return self.over.goodput(DEADLINE) / self.peak.texts_per_second


def measure(bench: Bench) -> list[Figure]:
    """Return, for single texts and for several a call, goodput over peak and a refusal's time."""
    with bench.semserve(bench.embedder, variant=bench.variant) as server:
        sides = {str(texts): partial(_run, bench, server, texts) for texts in CALLERS}
        seen = alternate(sides, bench.settings.rounds)
    return [
        figure
        for texts in CALLERS
        for figure in (_goodput(texts, seen[str(texts)]), _refusals(texts, seen[str(texts)]))
    ]


def _run(bench: Bench, server: Server, texts: int) -> Overload:
    closed = server.load(bench.texts.short, texts=texts, callers=CALLERS[texts], **bench.window)
    peak = bench.drive("overload", server, closed)
    peak.require_ok()
    rate = TIMES * peak.texts_per_second / texts
    over = server.load(bench.texts.short, texts=texts, rate=rate, timeout=DEADLINE, **bench.window)
    return Overload(peak, bench.drive("overload", server, over))


def _goodput(texts: int, rounds: list[Overload]) -> Figure:
    goodput = median(one.over.goodput(DEADLINE) for one in rounds)
    return Figure(
        name=f"{_name(texts)}, {DEADLINE * 1e3:.0f} ms deadlines: goodput over peak",
        bar=0.95,
        detail=f"{goodput:.4g} texts/s in time; of the last round {_shares(rounds[-1].over)}",
        **of_rounds([one.share for one in rounds]),
    )


def _refusals(texts: int, rounds: list[Overload]) -> Figure:
    name = f"{_name(texts)}: median time of a refusal"
    records = [one.over for one in rounds]
    if not all(record.latencies(SHED).size for record in records):
        return Figure(
            name=name, unit="ms", bar=10, at_least=False, detail="nothing was refused at the door"
        )
    slowest = max(record.percentile(99, SHED) for record in records)
    return Figure(
        name=name, unit="ms", bar=10, at_least=False, detail=f"p99 {slowest:.3g} ms",
        **of_rounds([record.percentile(50, SHED) for record in records]),
    )  # fmt: skip


def _name(texts: int) -> str:
    return f"{TIMES}x overload, {f'{texts} texts a call' if texts > 1 else 'single texts'}"


def _shares(record: Record) -> str:
    statuses = record.statuses()
    total = sum(statuses.values())
    return ", ".join(f"{count / total:.0%} {name}" for name, count in statuses.items())
