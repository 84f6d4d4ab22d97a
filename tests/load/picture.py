"""Draws throughput against latency: the more callers, the further right and the higher up."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from statistics import median

import matplotlib as mpl
from matplotlib.figure import Figure

from load.bench import Bench
from load.record import Record

COLOURS = {
    "semserve": "#0b6e4f", "semserve int8": "#7a9e1f",
    "text-embeddings-inference": "#c1440e", "MLServer": "#3d5a98",
}  # fmt: skip
SHAPES_SHOWN = ("serving", "curve", "depth")
Point = tuple[int, float, float, float]
"""Callers, texts a second, p50 and p99 in milliseconds."""


def draw(bench: Bench) -> list[Path]:
    """Draw the closed loops of single texts, unless no server has two points. Returns the files.

    The background is white, so that the picture can be read on a dark page too.
    """
    curves = {name: points for name, points in _curves(bench).items() if len(points) > 1}
    if not curves:
        return []
    mpl.rcParams["svg.hashsalt"] = "semserve"
    mpl.rcParams["svg.fonttype"] = "none"
    figure = Figure(figsize=(9, 5.6), layout="constrained")
    axes = figure.add_subplot()
    for name, points in curves.items():
        colour = COLOURS.get(name, "#444444")
        _, rates, middle, tail = zip(*points, strict=True)
        axes.plot(rates, middle, "o-", color=colour, label=f"{name}, p50")
        axes.plot(rates, tail, "o--", color=colour, alpha=0.55, ms=4, label=f"{name}, p99")
        for callers, rate, low, _ in points:
            axes.annotate(
                f"{callers}", (rate, low), xytext=(5, -11), textcoords="offset points",
                fontsize=8, color=colour,
            )  # fmt: skip
    bare = bench.facts.get("bare texts_per_second")
    if isinstance(bare, float):
        axes.axvline(bare, color="#555555", ls=":", label="bare runtime, best plan")
    axes.set(
        yscale="log", xlabel="texts a second", ylabel="latency in ms",
        title=f"{bench.embedder.name}, one text a call; small figures count the callers",
    )  # fmt: skip
    axes.set_xlim(left=0)
    axes.grid(visible=True, which="major", alpha=0.25)
    figure.legend(fontsize=8, loc="outside lower center", ncols=4, frameon=False)
    paths = [bench.settings.results / "bench.png"]
    if bench.settings.picture:
        paths.append(bench.settings.picture)
    for path in paths:
        kept = {"Date": None} if path.suffix == ".svg" else None
        figure.savefig(path, dpi=130, facecolor="white", metadata=kept)
    return paths


def _curves(bench: Bench) -> dict[str, list[Point]]:
    """The median of every number of callers that each server met, by callers."""
    seen: dict[str, dict[int, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for run in bench.runs:
        load = run.record.load
        whole = set(run.record.statuses()) == {"OK"} and run.record.settled
        single = not load.streams and load.texts_per_request == 1
        if run.part in SHAPES_SHOWN and single and whole:
            seen[run.server][load.callers].append(run.record)
    return {
        server: [
            (
                callers,
                median(record.texts_per_second for record in records),
                median(record.percentile(50) for record in records),
                median(record.percentile(99) for record in records),
            )
            for callers, records in sorted(by_callers.items())
        ]
        for server, by_callers in seen.items()
    }
