"""Writes what was found: JSON with everything, and a Markdown table of the figures and the runs."""

from __future__ import annotations

import json
import math
import platform
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from load.bench import Bench, Run
from load.ceiling import usable_cpus
from load.figure import Figure
from load.flops import SIDE

HEADLINE = ("texts/s", "p50 ms", "p90 ms", "p99 ms", "max ms")
READ = ("texts_per_second", "p50_ms", "p90_ms", "p99_ms", "max_ms")

SHORT_TEXTS = ("serving", "curve", "variants", "overload", "depth")
"""Parts whose runs embed the short texts."""


def write(bench: Bench, figures: list[Figure]) -> list[Path]:
    """Write `bench.json` and `bench.md` into the directory of results; their paths."""
    directory = bench.settings.results
    directory.mkdir(parents=True, exist_ok=True)
    paths = [directory / "bench.json", directory / "bench.md"]
    paths[0].write_text(
        json.dumps(_finite(_document(bench, figures)), indent=1, default=str) + "\n"
    )
    paths[1].write_text(_markdown(bench, figures))
    return paths


def machine() -> str:
    """Name the machine: its processor and how much of it this process may use."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.is_file() else ():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return f"{model}, {usable_cpus()} CPUs, {platform.system()}, Python {platform.python_version()}"


def _document(bench: Bench, figures: list[Figure]) -> dict[str, object]:
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "settings": asdict(bench.settings),
        "texts": bench.texts.source,
        "facts": bench.facts,
        "peak_gflops": [peak / 1e9 for peak in bench.peaks],
        "figures": [
            asdict(figure) | {"verdict": figure.verdict, "bar_text": figure.bar_text}
            for figure in figures
        ],
        "runs": [
            {
                "part": run.part,
                "server": run.server,
                **run.record.summary(),
                "share_of_peak": _share(bench, run),
            }
            for run in bench.runs
        ],
    }


def _markdown(bench: Bench, figures: list[Figure]) -> str:
    settings = bench.settings
    lines = [
        "# Load figures",
        "",
        f"{machine()}. Clients, servers and models share these CPUs. Texts: {bench.texts.source}.",
        f"Windows of {settings.seconds:g} s after {settings.warm_up:g} s of warm-up; the median of",
        f"{settings.rounds} alternating rounds, with the least and the greatest in brackets.",
        *_peak(bench),
        "",
        *_table(
            ("figure", "value", "bar", "", "how it came about"),
            [(f.name, f.value_text, f.bar_text, f.verdict, f.detail) for f in figures],
        ),
        "",
        "## Runs",
        "",
        "CPU is microseconds a text of the server and of the client. Queue, tokenize and compute",
        "are the server's own medians in ms, beside the client's median of the same calls.",
        "",
        *_table(
            ("part", "server", "load", *HEADLINE, "of peak", "CPU",
             "client = queue + tokenize + compute +", "statuses"),
            [_row(bench, run) for run in bench.runs],
        ),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _peak(bench: Bench) -> list[str]:
    """Say what the machine can do at most, and what a text needs."""
    if not bench.peaks:
        return []
    low, middle, high = (each(bench.peaks) / 1e9 for each in (min, median, max))
    return [
        f"The peak is {high:.0f} fp32 GFLOP/s (median {middle:.0f}, least {low:.0f}), products of",
        f"matrices of {SIDE} x {SIDE}; a text needs {bench.text_flops / 1e6:.0f} MFLOP without",
        "padding.",
    ]


def _row(bench: Bench, run: Run) -> tuple[str, ...]:
    seen = run.record.summary()
    timing = seen["server_timing_p50_ms"]
    times = [f"{timing[name]:.2f}" for name in timing] if isinstance(timing, dict) else []
    cpu = (seen["server_cpu_us_per_text"], seen["client_cpu_us_per_text"])
    return (
        run.part,
        run.server,
        run.record.load.shape,
        *(_number(seen[name], ".4g") for name in READ),
        _number(_share(bench, run), ".0%"),
        " / ".join(_number(one, ".0f") for one in cpu),
        " / ".join(times),
        ", ".join(f"{count} {name}" for name, count in run.record.statuses().items()),
    )


def _share(bench: Bench, run: Run) -> float:
    """Return what the texts of a run are of the machine's peak; NaN where that is not known."""
    known = run.part in SHORT_TEXTS
    return bench.share_of_peak(run.record.texts_per_second) if known else math.nan


def _number(value: object, form: str) -> str:
    """Write a number, or nothing for what is none."""
    return format(value, form) if isinstance(value, float) and math.isfinite(value) else ""


def _finite(value: object) -> object:
    """Replace what is no number by None all through a document, since JSON has no word for it."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    cells = [head, tuple("---" for _ in head), *rows]
    return [
        "| " + " | ".join(" ".join(cell.replace("|", "/").split()) for cell in row) + " |"
        for row in cells
    ]
