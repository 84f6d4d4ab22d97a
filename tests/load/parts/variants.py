"""The int8 graph beside the one of full precision: how much faster, and how much the same."""

from __future__ import annotations

import contextlib
import csv
import gzip
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray
from semserve import Client

from load.bench import Bench, alternate
from load.figure import Figure, ratio
from load.record import Record
from load.server import Server
from load.servers.semserve import understands

INT8 = "int8"
SPEED, MEAN, LEAST, JUDGEMENT = (
    "int8 over fp32: throughput, 32 texts a call",
    "int8 to fp32: mean cosine",
    "int8 to fp32: least cosine",
    "int8 against fp32: STS-B dev Spearman x100, difference",
)
CLIENT_BATCH = 64

Vectors = NDArray[np.float32]


def measure(bench: Bench) -> list[Figure]:
    """Return speed and fidelity of int8."""
    if reason := _unmeasurable(bench):
        return [
            Figure(name=SPEED, bar=1.8, skipped=reason),
            Figure(name=MEAN, unit="", bar=0.999, skipped=reason),
            Figure(name=LEAST, unit="", bar=0.995, skipped=reason),
            Figure(name=JUDGEMENT, unit="", bar=0.1, at_least=False, skipped=reason),
        ]
    with contextlib.ExitStack() as stack:
        int8, fp32 = (
            stack.enter_context(bench.semserve(bench.embedder, variant=name, name=name))
            for name in (INT8, bench.variant)
        )
        sides = {server.name: partial(_run, bench, server) for server in (int8, fp32)}
        seen = alternate(sides, bench.settings.rounds)
        cosines = _cosines(*(_embed(bench, server, bench.texts.short) for server in (int8, fp32)))
        return [
            _speed(seen, bench.variant),
            Figure(name=MEAN, unit="", bar=0.999, value=float(cosines.mean())),
            Figure(name=LEAST, unit="", bar=0.995, value=float(cosines.min())),
            _judgement(bench, int8, fp32),
        ]


def _unmeasurable(bench: Bench) -> str:
    if not understands("--variant"):
        return "this server has no --variant"
    if INT8 not in bench.embedder.variants:
        return f"{bench.embedder.name} has no int8 graph: export it again"
    return ""


def _run(bench: Bench, server: Server) -> Record:
    load = server.load(bench.texts.short, texts=32, callers=8, **bench.window)
    record = bench.drive("variants", server, load)
    record.require_ok()
    return record


def _speed(seen: dict[str, list[Record]], fp32: str) -> Figure:
    actual, expected = ([one.texts_per_second for one in seen[name]] for name in (INT8, fp32))
    detail = f"{median(actual):.4g} against {median(expected):.4g} texts/s, {fp32}"
    return Figure(name=SPEED, bar=1.8, detail=detail, **ratio(actual, expected))


def _judgement(bench: Bench, int8: Server, fp32: Server) -> Figure:
    path = bench.settings.pairs_of_sentences
    if path is None or not path.is_file():
        reason = "no scored pairs: name some with --pairs-of-sentences"
        return Figure(name=JUDGEMENT, unit="", bar=0.1, at_least=False, skipped=reason)
    left, right, scores = _scored(path)
    correlations = []
    for server in (int8, fp32):
        sides = (_embed(bench, server, sentences) for sentences in (left, right))
        correlations.append(100 * _spearman(_cosines(*sides), np.array(scores)))
    return Figure(
        name=JUDGEMENT, unit="", bar=0.1, at_least=False,
        value=abs(correlations[0] - correlations[1]),
        detail=f"{correlations[0]:.2f} against {correlations[1]:.2f}",
    )  # fmt: skip


def _scored(path: Path) -> tuple[list[str], list[str], list[float]]:
    """Read sentences and scores of a tab-separated file with a header."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    left, right, score = (
        next(name for name in rows[0] if name.startswith(start))
        for start in ("sentence1", "sentence2", "score")
    )
    return (
        [row[left] for row in rows],
        [row[right] for row in rows],
        [float(row[score]) for row in rows],
    )


def _embed(bench: Bench, server: Server, texts: Sequence[str]) -> Vectors:
    """Embed through the product's own client: float32 [texts, dimensions]."""
    bench.tell(f"variants: embedding {len(texts)} texts with {server.name}")
    with Client(server.address) as client:
        batches = [texts[at : at + CLIENT_BATCH] for at in range(0, len(texts), CLIENT_BATCH)]
        return np.concatenate([np.asarray(client.embed(batch).vectors) for batch in batches])


def _cosines(left: Vectors, right: Vectors) -> NDArray[np.float64]:
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return np.asarray((left.astype(np.float64) * right).sum(axis=1) / norms)


def _spearman(left: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    return float(np.corrcoef(_ranks(left), _ranks(right))[0, 1])


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank from 0; equal values share the mean of their ranks."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count + 1) / 2)[place]
