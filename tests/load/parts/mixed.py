"""Short texts with long ones among them: how much the short ones wait for the long ones."""

from __future__ import annotations

from dataclasses import replace
from statistics import median

from load.bench import Bench
from load.figure import Figure, ratio
from load.record import Record
from load.server import Server

CALLERS = 64
SHORT_SHARE = 0.4
LONG_SHARE = 0.2
"""ConcurrencyLimit of the server's peak that short texts and long ones ask for, each by itself."""


def measure(bench: Bench) -> list[Figure]:
    """Return p99 of the short texts with the long ones over p99 without."""
    alone: list[Record] = []
    among: list[Record] = []
    with bench.semserve(bench.embedder, variant=bench.variant) as server:
        peaks = {kind: _peak(bench, server, kind) for kind in ("short", "long")}
        short = replace(
            server.load(bench.texts.short, **bench.window), rate=SHORT_SHARE * peaks["short"]
        )
        # The long ones begin before the window and go on past it, whichever process is first.
        long = replace(
            server.load(bench.texts.long, **bench.window),
            rate=LONG_SHARE * peaks["long"],
            warm_up=0.01,
            seconds=bench.settings.warm_up * 2 + bench.settings.seconds,
        )
        for _ in range(bench.settings.rounds):
            alone.append(bench.drive("mixed: short alone", server, short))
            among.append(bench.drive("mixed: short among long", server, short, beside=long))
    for record in (*alone, *among):
        record.require_ok()
    tails = [[record.percentile(99) for record in records] for records in (among, alone)]
    return [
        Figure(
            name="short texts among long ones: p99 over p99 without them",
            bar=2.0,
            at_least=False,
            detail=f"{median(tails[0]):.3g} against {median(tails[1]):.3g} ms; "
            f"{short.rate:.0f} short and {long.rate:.1f} long texts/s",
            **ratio(*tails),
        )
    ]


def _peak(bench: Bench, server: Server, kind: str) -> float:
    """Measure what the server can do of one kind alone."""
    texts = getattr(bench.texts, kind)
    record = bench.drive(
        f"mixed: peak of {kind}", server, server.load(texts, callers=CALLERS, **bench.window)
    )
    record.require_ok()
    return record.texts_per_second
