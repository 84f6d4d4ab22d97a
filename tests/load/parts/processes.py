"""Two server processes on one address against one, where nothing but the front end costs."""

from __future__ import annotations

import contextlib
from functools import partial
from statistics import median

from load.bench import Bench, alternate
from load.ceiling import usable_cpus
from load.figure import Figure, ratio
from load.record import Record
from load.server import Server
from load.servers.semserve import semserve

PROCESSES = (1, 2)
CALLERS = 64
CONNECTIONS = 8
"""The kernel spreads connections over the processes, not calls."""


def measure(bench: Bench) -> list[Figure]:
    """Return the rate of two processes over that of one, of a model that runs nothing."""
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(_serve(bench, processes)) for processes in PROCESSES]
        sides = {server.name: partial(_run, bench, server) for server in servers}
        seen = alternate(sides, bench.settings.rounds)
    rates = [[record.texts_per_second for record in records] for records in seen.values()]
    return [
        Figure(
            name=f"--processes 2 over 1, echo model, {CALLERS} callers over {CONNECTIONS} "
            "connections: throughput",
            detail=_detail(seen),
            **ratio(rates[1], rates[0]),
        )
    ]


def _serve(bench: Bench, processes: int) -> contextlib.AbstractContextManager[Server]:
    flags = ["--echo", str(bench.embedder.dimensions), "--processes", str(processes)]
    return semserve(bench.embedder, flags, name=f"semserve --processes {processes}")


def _run(bench: Bench, server: Server) -> Record:
    load = server.load(bench.texts.short, callers=CALLERS, connections=CONNECTIONS, **bench.window)
    record = bench.drive("processes", server, load)
    record.require_ok()
    return record


def _detail(seen: dict[str, list[Record]]) -> str:
    """Say the rates and who was busy: where clients and servers share few CPUs, none is free."""
    one, two = (
        f"{median(record.texts_per_second for record in records):.0f}" for records in seen.values()
    )
    records = [record for side in seen.values() for record in side]
    client = max(record.client_cpu / record.load.seconds for record in records)
    server = max(record.server_cpu / record.load.seconds for record in records)
    return (
        f"{two} against {one} texts/s; of {usable_cpus()} CPUs the client kept at most "
        f"{client:.2f} busy, the server {server:.2f}"
    )
