"""Draw accuracy against pairs seen, of `curves.tsv`: what more training would bring.

Circles are points of the training on teachers' answers, squares of the pass on people's labels;
hollow ones were measured on the first 2,000 pairs alone. Bars are one standard error.

python draw_curves.py ../learning_curves.svg
"""

import csv
import sys
from itertools import groupby
from math import sqrt
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

CURVES = Path(__file__).with_name("curves.tsv")
GOALS = {"nli-mpnet": 0.875, "nli-minilm": 0.865, "nli-bert-tiny": 0.82, "nli-roberta": 0.82}
COLOURS = dict(zip(GOALS, ("#1f6fb4", "#c2571a", "#3a8f4d", "#7a4fa3"), strict=True))
WHOLE = 9842  # pairs of SNLI dev


def main() -> None:
    """Read the points and draw one panel for each model."""
    mpl.rcParams["svg.hashsalt"] = "semserve"  # the same points give the same bytes
    mpl.rcParams["svg.fonttype"] = "none"
    figure = Figure(figsize=(10, 3), layout="constrained")
    with CURVES.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    panels = figure.subplots(1, len(GOALS), sharey=True)
    models = groupby(rows, key=lambda row: row["model"])
    for axes, (model, points) in zip(panels, models, strict=True):
        _draw(axes, model, list(points))
    panels[0].set_ylabel("accuracy on SNLI dev", fontsize=8)
    figure.savefig(sys.argv[1], metadata={"Date": None})


def _draw(axes: Axes, model: str, points: list[dict[str, str]]) -> None:
    for measured, some in groupby(points, key=lambda point: int(point["of"])):
        for phase, part in groupby(some, key=lambda point: point["phase"]):
            rows = list(part)
            reached = [float(row["snli_dev"]) for row in rows]
            axes.errorbar(
                [int(row["pairs"]) / 1000 for row in rows],
                reached,
                yerr=[sqrt(share * (1 - share) / measured) for share in reached],
                fmt="s-" if phase == "labels" else "o-",
                color=COLOURS[model],
                markerfacecolor=COLOURS[model] if measured == WHOLE else "white",
                markersize=4,
                linewidth=1,
                elinewidth=0.5,
            )
    axes.axhline(GOALS[model], color="black", linewidth=0.8, linestyle=":")
    axes.set_title(f"{model}, goal {GOALS[model]}", fontsize=9)
    axes.set_xlabel("thousand pairs seen", fontsize=8)
    axes.set_xlim(left=0)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main()
