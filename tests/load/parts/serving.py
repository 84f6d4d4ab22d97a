"""semserve beside its peers and beside the bare runtime, on the same model and texts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from load.bench import Bench, alternate, worker_process
from load.ceiling import BUDGETS, Bare, Plan, run_bare, usable_cpus
from load.figure import Figure
from load.parts.serving_figures import (
    BATCH,
    CALLERS,
    INT8,
    MLSERVER,
    TEI,
    TEI_WITH_OURS,
    memory,
    of_peak,
    over_bare,
    over_peers,
)
from load.process import StartError
from load.record import Record
from load.server import Absent, Server
from load.servers import mlserver, tei
from load.servers.peer_graph import peer_graph

SEARCH_TEXTS = 500
"""With so many the bare runtime's plan is looked for."""
CURVE = (4, 16, 256)
"""Further numbers of callers for the picture, one run each."""
SHAPES: dict[str, dict[str, Any]] = {
    "unary": {"callers": CALLERS},
    "idle": {"callers": 1},
    "batched": {"callers": 8, "texts": BATCH},
    "stream-32": {"callers": 8, "texts": BATCH, "streams": 1},
    "stream-1": {"callers": 256, "streams": 4},
}
"""How the same texts are asked; where many share a message, 256 texts are in flight."""


def measure(bench: Bench) -> list[Figure]:
    """Return the figures of throughput, latency and memory over peers and the bare runtime."""
    with contextlib.ExitStack() as stack:
        actual = stack.enter_context(bench.semserve(bench.embedder, variant=bench.variant))
        bench.facts["semserve"] = actual.facts
        peers, absent = _peers(bench, stack)
        bare = stack.enter_context(worker_process())
        plan = _best_plan(bench, bare)
        sides = _sides(bench, actual, peers, partial(_bare, bench, bare, plan))
        seen = alternate(sides, bench.settings.rounds)
        resident = {one.name: one.process.resident_bytes() for one in (actual, *peers)}
        proportional = {one.name: one.process.proportional_bytes() for one in (actual, *peers)}
        _curve(bench, [actual, *(peer for peer in peers if peer.name != TEI_WITH_OURS)])
    return [
        *over_peers(seen, absent),
        *over_bare(bench, seen),
        of_peak(bench, seen),
        memory("resident memory", resident, absent),
        memory("proportional memory (Pss)", proportional, absent),
    ]


def _peers(bench: Bench, stack: contextlib.ExitStack) -> tuple[list[Server], dict[str, str]]:
    """Start the peers that are to be had, our int8 graph among them; say why others are not."""
    peers: list[Server] = []
    absent: dict[str, str] = {}
    starts: dict[str, Callable[[], Any]] = {
        INT8: partial(_int8, bench),
        TEI: partial(_tei, bench),
        TEI_WITH_OURS: partial(_tei, bench, ours=True),
        MLSERVER: partial(_mlserver, bench),
    }
    for name, start in starts.items():
        bench.tell(f"serving: starting {name}")
        try:
            peers.append(stack.enter_context(start()))
        except (Absent, StartError) as error:
            absent[name] = f"{name} is not measured: {error}"
    return peers, absent


def _int8(bench: Bench) -> contextlib.AbstractContextManager[Server]:
    if "int8" not in bench.embedder.variants:
        raise Absent(f"{bench.embedder.name} has no int8 graph")
    return bench.semserve(bench.embedder, variant="int8", name=INT8)


def _tei(bench: Bench, *, ours: bool = False) -> contextlib.AbstractContextManager[Server]:
    tei.require_program(bench.settings.tei)  # before a graph is made for it, which takes a while
    graph = bench.embedder.variants[bench.variant] if ours else _peer_graph(bench)
    kit = tei.prepare(bench.settings.tei, bench.embedder, graph, bench.settings.cache)
    return tei.tei(kit, bench.embedder, name=TEI_WITH_OURS if ours else TEI)


def _mlserver(bench: Bench) -> contextlib.AbstractContextManager[Server]:
    program = mlserver.prepare(bench.settings.mlserver)
    return mlserver.mlserver(program, bench.embedder, _peer_graph(bench))


def _peer_graph(bench: Bench) -> Path:
    source = bench.source or bench.embedder.name
    return peer_graph(bench.embedder, source, bench.settings.cache)


def _sides(
    bench: Bench, ours: Server, peers: list[Server], bare: Callable[[], Bare]
) -> dict[str, Callable[[], Any]]:
    """Make every run of a round, those that are compared next to each other."""
    runs = [("idle", server) for server in (*peers, ours) if server.name != TEI_WITH_OURS]
    runs += [("unary", server) for server in (*reversed(peers), ours)]
    sides: dict[str, Callable[[], Any]] = {
        f"{shape} {server.name}": partial(_run, bench, server, shape) for shape, server in runs
    }
    sides["peak"] = bench.measure_peak
    sides["bare"] = bare
    for shape in ("batched", "stream-32", "stream-1"):
        sides[f"{shape} {ours.name}"] = partial(_run, bench, ours, shape)
    return sides


def _run(bench: Bench, server: Server, shape: str) -> Record:
    load = server.load(bench.texts.short, **SHAPES[shape], **bench.window)
    record = bench.drive("serving", server, load)
    record.require_ok()
    return record


def _best_plan(bench: Bench, bare: ProcessPoolExecutor) -> Plan:
    """Try each budget and keep the one that costs the least CPU: workers have one thread each."""
    plans = [
        Plan(
            bundle=bench.embedder,
            graph=bench.embedder.variants[bench.variant],
            texts=tuple(bench.texts.short),
            workers=usable_cpus(),
            max_batch_tokens=budget,
            seconds=bench.settings.seconds,
        )
        for budget in BUDGETS
    ]
    bench.tell("serving: looking for the bare runtime's best plan")
    some = tuple(bench.texts.short[:SEARCH_TEXTS])
    cost = [
        bare.submit(run_bare, replace(plan, texts=some)).result().server_cpu_us for plan in plans
    ]
    bench.facts["bare runtime"] = {
        "graph": bench.variant,
        "workers": plans[0].workers,
        "cpu_us_per_text_by_budget": dict(zip(BUDGETS, cost, strict=True)),
    }
    return plans[cost.index(min(cost))]


def _bare(bench: Bench, bare: ProcessPoolExecutor, plan: Plan) -> Bare:
    bench.tell("serving: the bare runtime")
    return bare.submit(run_bare, plan).result()


def _curve(bench: Bench, servers: list[Server]) -> None:
    for server in servers:
        for callers in CURVE:
            load = server.load(bench.texts.short, callers=callers, **bench.window)
            bench.drive("curve", server, load)
