"""Cost as work grows: the rate of single texts as more and more of them wait."""

from __future__ import annotations

from functools import partial
from statistics import median

from load.bench import Bench, alternate
from load.figure import Figure, of_rounds
from load.record import Record
from load.server import Server

NOISE = 0.03
"""Two windows of the same load differ by so much, and a fall within it is none."""


def measure(bench: Bench) -> list[Figure]:
    """Return the smallest step from one depth to the next."""
    depths = bench.settings.depths
    with bench.semserve(bench.embedder, variant=bench.variant) as server:
        sides = {str(depth): partial(_run, bench, server, depth) for depth in depths}
        seen = alternate(sides, bench.settings.rounds)
    rates = [[record.texts_per_second for record in seen[str(depth)]] for depth in depths]
    # In each round every depth over the best of the shallower ones, the worst of these.
    steps = [
        min(rate / max(series[:place]) for place, rate in enumerate(series) if place)
        for series in zip(*rates, strict=True)
    ]
    return [
        Figure(
            name=f"texts/s at queue depths {', '.join(map(str, depths))}: never falls",
            bar=1 - NOISE,
            detail=", ".join(f"{median(series):.4g}" for series in rates) + " texts/s",
            **of_rounds(steps),
        )
    ]


def _run(bench: Bench, server: Server, depth: int) -> Record:
    record = bench.drive(
        "depth", server, server.load(bench.texts.short, callers=depth, **bench.window)
    )
    record.require_ok()
    return record
