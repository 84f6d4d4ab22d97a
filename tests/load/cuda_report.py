"""The measurements of `python -m load.cuda`: printed, written line by line, and drawn."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Report:
    """The measurements so far, in a file too."""

    path: Path
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, **row: Any) -> None:
        """Keep, print and write a measurement."""
        self.rows.append(row)
        print(" ".join(f"{name}={_short(value)}" for name, value in row.items()), flush=True)
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")


def _short(value: object) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def draw(report: Report, path: Path) -> None:
    """Draw throughput against the texts of a call."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.6), layout="constrained")
    axes = figure.add_subplot()
    series: dict[str, list[tuple[int, float]]] = {}
    for row in report.rows:
        if "texts_per_second" in row:
            extra = f" x {row['processes']}" if "processes" in row else ""
            name = f"{row['part']}{extra}, {row['tokens']} tokens"
            series.setdefault(name, []).append((row["texts"], row["texts_per_second"]))
    for name, points in series.items():
        axes.plot(*zip(*sorted(points), strict=True), "o-", label=name)
    axes.set(xscale="log", yscale="log", xlabel="texts a call or batch", ylabel="texts a second")
    axes.legend(fontsize=7, ncols=2)
    figure.savefig(path, dpi=130)
