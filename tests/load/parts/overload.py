"""Three times more than fits, with deadlines: the rest must be refused, at once and cheaply."""

from __future__ import annotations

from dataclasses import dataclass, replace
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


OBEDIENT_CALLERS = 64


@dataclass(frozen=True, slots=True)
class Overload:
    """One round: the peak of a closed loop, and open loops that ask for a multiple of it."""

    peak: Record
    over: Record
    """Callers that do not obey the delay for which a refusal asks."""
    obedient: Record
    """Callers that do."""

    def share(self, over: Record) -> float:
        """Goodput over the peak."""
        return over.goodput(DEADLINE) / self.peak.texts_per_second


def measure(bench: Bench) -> list[Figure]:
    """Return, for single texts and for several a call, goodput over peak and a refusal's time."""
    with bench.semserve(bench.embedder, variant=bench.variant) as server:
        sides = {str(texts): partial(_run, bench, server, texts) for texts in CALLERS}
        seen = alternate(sides, bench.settings.rounds)
    return [
        figure
        for texts in CALLERS
        for figure in (
            _goodput(texts, seen[str(texts)], obey=False),
            _goodput(texts, seen[str(texts)], obey=True),
            _refusals(texts, seen[str(texts)]),
        )
    ]


def _run(bench: Bench, server: Server, texts: int) -> Overload:
    closed = server.load(bench.texts.short, texts=texts, callers=CALLERS[texts], **bench.window)
    peak = bench.drive("overload", server, closed)
    peak.require_ok()
    rate = TIMES * peak.texts_per_second / texts
    over = server.load(bench.texts.short, texts=texts, rate=rate, timeout=DEADLINE, **bench.window)
    obedient = replace(over, obedient_callers=OBEDIENT_CALLERS)
    return Overload(
        peak, bench.drive("overload", server, over), bench.drive("overload", server, obedient)
    )


def _goodput(texts: int, rounds: list[Overload], *, obey: bool) -> Figure:
    records = [one.obedient if obey else one.over for one in rounds]
    last = records[-1]
    who = "obey" if obey else "do not obey"
    return Figure(
        name=f"{_name(texts)} of callers that {who}, {DEADLINE * 1e3:.0f} ms deadlines: "
        "goodput over peak",
        bar=0.8 if texts == 1 else 0.95,
        detail=f"{median(one.goodput(DEADLINE) for one in records):.4g} texts/s in time; "
        f"of the last round {_shares(last)}; {last.sent_per_second:.0f} calls/s sent; CPUs busy: "
        f"server {last.server_cpu / last.load.seconds:.2f}, "
        f"client {last.client_cpu / last.load.seconds:.2f}",
        **of_rounds([one.share(record) for one, record in zip(rounds, records, strict=True)]),
    )


def _refusals(texts: int, rounds: list[Overload]) -> Figure:
    name = f"{_name(texts)}: median time of a refusal"
    records = [one.over for one in rounds]
    if not all(record.latencies(SHED).size for record in records):
        return Figure(name=name, unit="ms", bar=10, at_least=False, detail="nothing was refused")
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
