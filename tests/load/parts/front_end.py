"""A classifier that costs next to nothing beside a bare echo: what the front end costs."""

from __future__ import annotations

import contextlib
from functools import partial
from statistics import median

from load.bench import Bench, alternate
from load.figure import Figure, ratio
from load.record import Record
from load.server import Server
from load.servers.echo import echo

IN_FLIGHT = 64
BARS = {0: 0.6, 1: 0.9}
"""Share of the echo's rate that is asked of unary calls and of one stream."""


def measure(bench: Bench) -> list[Figure]:
    """Return unary and streamed classification over an echo of equal sizes."""
    figures = []
    with contextlib.ExitStack() as stack:
        actual = stack.enter_context(bench.semserve(bench.classifier))
        answer = actual.ask(bench.texts.pairs[0])
        other = stack.enter_context(echo(actual.wire, answer))
        bench.facts["front-end"] = actual.facts | {"answer_bytes": len(answer)}
        for streams, bar in BARS.items():
            sides = {
                server.name: partial(_run, bench, server, streams) for server in (actual, other)
            }
            seen = alternate(sides, bench.settings.rounds)
            rates = {
                name: [record.texts_per_second for record in records]
                for name, records in seen.items()
            }
            kind = "bidi stream" if streams else "unary"
            figures.append(
                Figure(
                    name=f"{bench.classifier.name} classify, one pair a message, {kind}, over echo",
                    bar=bar,
                    detail=_detail(seen),
                    **ratio(rates["semserve"], rates["echo"]),
                )
            )
    return figures


def _run(bench: Bench, server: Server, streams: int) -> Record:
    load = server.load(bench.texts.pairs, callers=IN_FLIGHT, streams=streams, **bench.window)
    record = bench.drive("front-end", server, load)
    record.require_ok()
    return record


def _detail(seen: dict[str, list[Record]]) -> str:
    """Say both rates and the client's share, since a client at its limit hides differences."""
    rates = " against ".join(
        f"{median(record.texts_per_second for record in records):.0f}" for records in seen.values()
    )
    busy = max(record.client_cpu / record.load.seconds for record in seen["echo"])
    return f"{rates} pairs/s; the client kept at most {busy:.0%} of a core busy"
