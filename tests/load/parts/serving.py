"""semserve beside its peers and beside the bare runtime, on the same model and texts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from load.bench import Bench, alternate, worker_process
from load.ceiling import BUDGETS, Bare, Plan, run_bare, usable_cpus
from load.figure import Figure, ratio
from load.process import StartError
from load.record import Record
from load.server import Absent, Server
from load.servers import mlserver, tei
from load.servers.peer_graph import peer_graph

CALLERS = 64
BATCH = 32
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

TEI = tei.NAME
TEI_WITH_OURS = f"{TEI} given our graph"
MLSERVER = "MLServer"


@dataclass(frozen=True, slots=True)
class Claim:
    """What semserve says of itself beside a peer."""

    what: str
    shape: str
    read: Callable[[Record], float]
    unit: str
    peer: str
    bar: float | None
    at_least: bool


def _throughput(record: Record) -> float:
    return record.texts_per_second


def _p50(record: Record) -> float:
    return record.percentile(50)


def _p99(record: Record) -> float:
    return record.percentile(99)


BUSY = f"single-text unary, {CALLERS} callers"
OVER_PEERS = (
    Claim(f"{BUSY}: throughput", "unary", _throughput, "texts/s", TEI, 1.7, at_least=True),
    Claim(f"{BUSY}: p99", "unary", _p99, "ms", TEI, 0.6, at_least=False),
    Claim(f"{BUSY}: throughput", "unary", _throughput, "texts/s", MLSERVER, 2.3, at_least=True),
    Claim(
        f"{BUSY}: throughput", "unary", _throughput, "texts/s", TEI_WITH_OURS, None, at_least=True
    ),
    Claim("idle, one caller: p50", "idle", _p50, "ms", TEI, 1.0, at_least=False),
)
OVER_BARE = {
    "batched": (f"unary, {BATCH} texts a call", 0.95),
    "stream-32": (f"bidi stream, {BATCH} texts a message", 0.95),
    "stream-1": ("bidi streams, one text a message", 0.95),
    "unary": (BUSY, 0.85),
}
"""What is compared with the bare runtime, and the share of it that is asked."""


def measure(bench: Bench) -> list[Figure]:
    """Return the figures of throughput, latency and memory over peers and the bare runtime."""
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(bench.semserve(bench.embedder, variant=bench.variant))
        bench.facts["semserve"] = ours.facts
        peers, absent = _peers(bench, stack)
        bare = stack.enter_context(worker_process())
        plan = _best_plan(bench, bare)
        sides = _sides(bench, ours, peers, partial(_bare, bench, bare, plan))
        seen = alternate(sides, bench.settings.rounds)
        resident = {one.name: one.process.resident_bytes() for one in (ours, *peers)}
        proportional = {one.name: one.process.proportional_bytes() for one in (ours, *peers)}
        _curve(bench, [ours, *(peer for peer in peers if peer.name != TEI_WITH_OURS)])
    return [
        *_over_peers(seen, absent),
        *_over_bare(bench, seen),
        _memory("resident memory", resident, absent),
        _memory("proportional memory (Pss)", proportional, absent),
    ]


def _peers(bench: Bench, stack: contextlib.ExitStack) -> tuple[list[Server], dict[str, str]]:
    """Start the peers that are to be had, and say of each other one why it is not."""
    peers: list[Server] = []
    absent: dict[str, str] = {}
    starts: dict[str, Callable[[], Any]] = {
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


def _tei(bench: Bench, *, ours: bool = False) -> contextlib.AbstractContextManager[Server]:
    graph = bench.embedder.variants[bench.variant] if ours else _peer_graph(bench)
    kit = tei.prepare(bench.settings.tei, bench.embedder, graph, bench.settings.cache)
    return tei.tei(kit, bench.embedder, name=TEI_WITH_OURS if ours else TEI)


def _mlserver(bench: Bench) -> contextlib.AbstractContextManager[Server]:
    program = mlserver.prepare(bench.settings.mlserver)
    return mlserver.mlserver(program, bench.embedder, _peer_graph(bench))


def _peer_graph(bench: Bench) -> Path:
    return peer_graph(bench.embedder, bench.settings.cache)


def _sides(
    bench: Bench, ours: Server, peers: list[Server], bare: Callable[[], Bare]
) -> dict[str, Callable[[], Any]]:
    """Make every run of a round, those that are compared next to each other."""
    runs = [("idle", server) for server in (*peers, ours) if server.name != TEI_WITH_OURS]
    runs += [("unary", server) for server in (*reversed(peers), ours)]
    sides: dict[str, Callable[[], Any]] = {
        f"{shape} {server.name}": partial(_run, bench, server, shape) for shape, server in runs
    }
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


def _over_peers(seen: dict[str, list[Any]], absent: dict[str, str]) -> list[Figure]:
    """Single texts over each peer: throughput and tail when busy, median when idle."""
    figures = []
    for claim in OVER_PEERS:
        facts = {"name": f"{claim.what}, over {claim.peer}", "bar": claim.bar}
        if claim.peer in absent:
            figures.append(Figure(**facts, at_least=claim.at_least, skipped=absent[claim.peer]))
            continue
        sides = [seen[f"{claim.shape} {server}"] for server in ("semserve", claim.peer)]
        ours, theirs = ([claim.read(record) for record in side] for side in sides)
        detail = f"{median(ours):.4g} against {median(theirs):.4g} {claim.unit}; {_cpu(*sides)}"
        figures.append(
            Figure(**facts, **ratio(ours, theirs), at_least=claim.at_least, detail=detail)
        )
    return figures


def _over_bare(bench: Bench, seen: dict[str, list[Any]]) -> list[Figure]:
    """Each way of asking over the bare runtime with the same graph."""
    bare = [one.texts_per_second for one in seen["bare"]]
    figures = []
    for shape, (what, bar) in OVER_BARE.items():
        ours = [record.texts_per_second for record in seen[f"{shape} semserve"]]
        cpu = _cpu(seen[f"{shape} semserve"], seen["bare"])
        detail = f"{median(ours):.4g} against {median(bare):.4g} texts/s; {cpu}; {bench.variant}"
        name = f"{what}, over the bare runtime"
        figures.append(Figure(name=name, bar=bar, detail=detail, **ratio(ours, bare)))
    bench.facts["bare texts_per_second"] = median(bare)
    return figures


def _cpu(ours: list[Any], theirs: list[Any]) -> str:
    """Say what a text costs each side, which other work on the machine distorts least."""
    spent = [median(one.server_cpu_us for one in side) for side in (ours, theirs)]
    return f"{spent[0]:.0f} against {spent[1]:.0f} us of CPU a text"


def _memory(kind: str, memory: dict[str, int], absent: dict[str, str]) -> Figure:
    name, peer = f"{kind}, over {TEI}", memory.get(TEI)
    if peer is None:
        return Figure(name=name, bar=1.5, at_least=False, skipped=absent[TEI])
    detail = ", ".join(f"{server} {size / 2**20:.0f} MiB" for server, size in memory.items())
    return Figure(
        name=name, bar=1.5, at_least=False, value=memory["semserve"] / peer, detail=detail
    )
