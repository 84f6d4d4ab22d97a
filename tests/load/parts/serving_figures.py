"""The figures of `serving`: which measurement is compared with which, and its bar."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

from load.bench import Bench
from load.figure import Figure, of_rounds, ratio
from load.record import Record
from load.servers import tei

CALLERS = 64
BATCH = 32
OURS = "semserve"
INT8 = "semserve int8"
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
    ours: str = OURS


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
    Claim(
        f"int8, {BUSY}: throughput",
        "unary",
        _throughput,
        "texts/s",
        TEI,
        3.0,
        at_least=True,
        ours=INT8,
    ),
    Claim(f"int8, {BUSY}: p99", "unary", _p99, "ms", TEI, 0.7, at_least=False, ours=INT8),
    Claim("int8, idle, one caller: p50", "idle", _p50, "ms", TEI, 0.8, at_least=False, ours=INT8),
)
OVER_BARE = {
    "batched": (f"unary, {BATCH} texts a call", 0.95),
    "stream-32": (f"bidi stream, {BATCH} texts a message", 0.95),
    "stream-1": ("bidi streams, one text a message", 0.95),
    "unary": (BUSY, 0.85),
}
"""What is compared with the bare runtime, and the share of it that is asked."""


def over_peers(seen: dict[str, list[Any]], absent: dict[str, str]) -> list[Figure]:
    """Single texts over each peer: throughput and tail when busy, median when idle."""
    figures = []
    for claim in OVER_PEERS:
        fp32 = "'s fp32" if claim.ours == INT8 else ""
        facts = {"name": f"{claim.what}, over {claim.peer}{fp32}", "bar": claim.bar}
        if why := absent.get(claim.ours) or absent.get(claim.peer):
            figures.append(Figure(**facts, at_least=claim.at_least, skipped=why))
            continue
        sides = [seen[f"{claim.shape} {server}"] for server in (claim.ours, claim.peer)]
        actual, expected = ([claim.read(record) for record in side] for side in sides)
        detail = f"{median(actual):.4g} against {median(expected):.4g} {claim.unit}; {_cpu(*sides)}"
        figures.append(
            Figure(**facts, **ratio(actual, expected), at_least=claim.at_least, detail=detail)
        )
    return figures


def over_bare(bench: Bench, seen: dict[str, list[Any]]) -> list[Figure]:
    """Each way of asking over the bare runtime with the same graph."""
    bare = [one.texts_per_second for one in seen["bare"]]
    figures = []
    for shape, (what, bar) in OVER_BARE.items():
        actual = [record.texts_per_second for record in seen[f"{shape} {OURS}"]]
        cpu = _cpu(seen[f"{shape} {OURS}"], seen["bare"])
        detail = (
            f"{median(actual):.4g} against {median(bare):.4g} texts/s; {cpu}; {bench.variant}; "
            f"{bench.share_of_peak(median(actual)):.0%} of the machine's peak"
        )
        name = f"{what}, over the bare runtime"
        figures.append(Figure(name=name, bar=bar, detail=detail, **ratio(actual, bare)))
    bench.facts["bare texts_per_second"] = median(bare)
    return figures


def of_peak(bench: Bench, seen: dict[str, list[Any]]) -> Figure:
    """The bare runtime over the machine's peak: what the graph leaves unused, in any server."""
    peaks = [peak / 1e9 for peak in bench.peaks]
    return Figure(
        name="the bare runtime over the machine's peak",
        unit="",
        detail=f"{bench.text_flops / 1e6:.0f} MFLOP a text; peak {max(peaks):.0f} fp32 GFLOP/s "
        f"(median {median(peaks):.0f}, least {min(peaks):.0f})",
        **of_rounds([bench.share_of_peak(one.texts_per_second) for one in seen["bare"]]),
    )


def _cpu(ours: list[Any], theirs: list[Any]) -> str:
    """Say what a text costs each side, which other work on the machine distorts least."""
    spent = [median(one.server_cpu_us for one in side) for side in (ours, theirs)]
    return f"{spent[0]:.0f} against {spent[1]:.0f} us of CPU a text"


def memory(kind: str, sizes: dict[str, int], absent: dict[str, str]) -> Figure:
    name, peer = f"{kind}, over {TEI}", sizes.get(TEI)
    if peer is None:
        return Figure(name=name, bar=1.5, at_least=False, skipped=absent[TEI])
    detail = ", ".join(f"{server} {size / 2**20:.0f} MiB" for server, size in sizes.items())
    return Figure(name=name, bar=1.5, at_least=False, value=sizes[OURS] / peer, detail=detail)
