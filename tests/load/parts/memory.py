"""Memory of one, three and all models, after a load on each, with mapped weights and without."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc

from load.bench import Bench
from load.bundle import Bundle, read_bundle
from load.figure import Figure
from load.server import Server
from load.servers.semserve import semserve_of, understands

BARS_MIB = {1: 158.0, 9: 500.0}
"""Most MiB for so many models: 1.2 times what text-embeddings-inference has for MiniLM alone."""
TEXTS_A_CALL = (32, 1)
IN_FLIGHT = 8
CALL_SECONDS = 120.0
MIB = 2**20


@dataclass(frozen=True, slots=True)
class _Used:
    """What a server used after its load."""

    proportional: int
    """Bytes, where shared pages are divided among their users (Pss)."""
    resident: int
    seconds: float
    """From its command to SERVING."""


def measure(bench: Bench) -> list[Figure]:
    """Return the memory by number of models."""
    bundles = _bundles(bench)
    figures = []
    with semserve_of(bundles, bench.settings.server_flag, name="first start"):
        pass  # which may have to make the optimised graphs
    for count in sorted({1, min(3, len(bundles)), len(bundles)}):
        chosen = bundles[:count]
        mapped = _measured(bench, chosen, [], "mapped weights")
        detail = f"RSS {mapped.resident / MIB:.0f} MiB, SERVING after {mapped.seconds:.2f} s"
        if understands("--cache-dir"):
            own = _measured(bench, chosen, ["--cache-dir", "none"], "own weights")
            detail += (
                f"; --cache-dir none: Pss {own.proportional / MIB:.0f} MiB, "
                f"RSS {own.resident / MIB:.0f} MiB, SERVING after {own.seconds:.2f} s"
            )
        figures.append(
            Figure(
                name=f"proportional memory (Pss) of {count} model{'s' if count > 1 else ''}",
                value=mapped.proportional / MIB,
                unit="MiB",
                bar=BARS_MIB.get(count),
                at_least=False,
                detail=detail,
            )
        )
    bench.facts["memory"] = {"models": [bundle.name for bundle in bundles]}
    return figures


def _bundles(bench: Bench) -> list[Bundle]:
    """Return the embedder and the other bundles whose requests the bench can write."""
    directories = sorted(path.parent for path in bench.settings.models.glob("*/bundle.json"))
    others = [read_bundle(path) for path in directories if _writable(path)]
    return [bench.embedder, *(one for one in others if one.name != bench.embedder.name)]


def _writable(directory: Path) -> bool:
    manifest = json.loads((directory / "bundle.json").read_text())
    return (manifest["task"], manifest["pair"]) in {("embedding", False), ("classification", True)}


def _measured(bench: Bench, bundles: Sequence[Bundle], flags: Sequence[str], name: str) -> _Used:
    """Serve, put every model under load, and read the memory."""
    with semserve_of(bundles, [*bench.settings.server_flag, *flags], name=name) as servers:
        for server, bundle in zip(servers, bundles, strict=True):
            _load(bench, server, bundle)
        process = servers[0].process
        return _Used(
            process.proportional_bytes(),
            process.resident_bytes(),
            float(str(servers[0].facts["seconds_to_serving"])),
        )


def _load(bench: Bench, server: Server, bundle: Bundle) -> None:
    """Ask about every text twice, so that each run reads the same rows of the lookup tables."""
    bench.tell(f"memory: {server.name}")
    items = bench.texts.pairs if bundle.output == "logits" else bench.texts.short
    for size in TEXTS_A_CALL:
        requests = [server.wire.write(items[at : at + size]) for at in range(0, len(items), size)]
        with grpc.insecure_channel(server.address) as channel:
            call = channel.unary_unary(server.wire.unary)
            waiting: deque[grpc.Future] = deque()
            for request in requests:
                if len(waiting) == IN_FLIGHT:
                    waiting.popleft().result()
                waiting.append(call.future(request, timeout=CALL_SECONDS))
            for last in waiting:
                last.result()
