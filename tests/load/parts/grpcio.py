"""The newest grpcio beside the locked one: says when the upper bound of the lock can go."""

from __future__ import annotations

from functools import partial
from statistics import median

from load.bench import Bench, alternate
from load.figure import Figure, ratio
from load.record import Record
from load.server import Absent, Server
from load.servers.echo import echo
from load.servers.grpcio import locked, newest
from load.wire import Wire

IN_FLIGHT = 64
ANSWER_BYTES = 1536
"""Size of one vector of 384 numbers."""
BAR = 0.97
"""Share of the locked version's rate from which the newest release is as fast."""


def measure(bench: Bench) -> list[Figure]:
    """Return the calls a second of an echo on the newest grpcio over those on the locked one."""
    packages = bench.settings.grpcio
    try:
        versions = locked(), newest(packages)
    except Absent as error:
        return [Figure(name="newest grpcio over the locked one", bar=BAR, skipped=str(error))]
    like = Wire("", "", lambda text: str(text).encode())
    answer = bytes(ANSWER_BYTES)
    with (
        echo(like, answer, name="locked grpcio") as actual,
        echo(like, answer, name="newest grpcio", packages=packages) as other,
    ):
        sides = {one.name: partial(_run, bench, one) for one in (actual, other)}
        seen = alternate(sides, bench.settings.rounds)
    rates = [[record.texts_per_second for record in records] for records in seen.values()]
    figure = Figure(
        name=f"grpcio {versions[1]} over the locked {versions[0]}, echo at {IN_FLIGHT} callers",
        bar=BAR,
        detail=f"{median(rates[1]):.0f} against {median(rates[0]):.0f} calls/s; from {BAR:g} on, "
        "the upper bound of grpcio in server/pyproject.toml can go",
        **ratio(rates[1], rates[0]),
    )
    return [figure]


def _run(bench: Bench, server: Server) -> Record:
    load = server.load(bench.texts.short, callers=IN_FLIGHT, **bench.window)
    record = bench.drive("grpcio", server, load)
    record.require_ok()
    return record
