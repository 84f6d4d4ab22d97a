"""Draws the similarity matrix of sentences."""

import logging
import textwrap
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from semserve.cli.output import DARK_PART, score_range, two_decimals

# It warns if the home directory is not writable, which only disables its cache.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
_COLOURS = colormaps["YlGnBu"]
# Characters of a label's line, height of a line, and most lines of a label.
_LABEL_WIDTH = 28
_LINE_INCHES = 0.13
_MOST_LINES = 4
# With few sentences the columns are wide enough for horizontal labels.
_FEW = 6
_FEW_LABEL_WIDTH = 15
# Smaller cells have no room for digits.
_LEGIBLE_INCHES = 0.4
_MARGIN_INCHES = 2.6
_DOTS_PER_INCH = 150


def draw(scores: NDArray[np.float32], sentences: Sequence[str], to: Path, title: str) -> None:
    """Write the picture of a square matrix of scores.

    Args:
        scores: float32 (sentences, sentences).
        sentences: labels of rows and columns; long ones are wrapped and shortened.
        to: file to write; its suffix is the format.
        title: title of the picture.

    Raises:
        OSError: the file cannot be written.
    """
    count = len(sentences)
    cell = float(np.interp(count, [_FEW, 10, 40, 200], [1.3, 0.75, 0.42, 0.14]))
    side = count * cell + _MARGIN_INCHES
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.add_subplot()
    scale = Normalize(*score_range(scores))
    image = axes.imshow(scores, cmap=_COLOURS, norm=scale)
    axes.set_title(title, pad=12)
    _label(axes, sentences, cell)
    if cell >= _LEGIBLE_INCHES:
        _annotate(axes, scores, scale, cell)
    bar = figure.colorbar(image, ax=axes, shrink=min(1.0, 6 / side + 0.3), pad=0.02)
    bar.outline.set_visible(False)
    with warnings.catch_warnings():
        # Characters that the font lacks are drawn as boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(to, dpi=_DOTS_PER_INCH, bbox_inches="tight", pad_inches=0.15)


def _label(axes: Axes, sentences: Sequence[str], cell: float) -> None:
    """Label rows and columns, and draw white lines between the cells."""
    count = len(sentences)
    places = range(count)
    lines = min(max(1, int(cell / _LINE_INCHES)), _MOST_LINES)
    rows = [_wrapped(sentence, _LABEL_WIDTH, lines) for sentence in sentences]
    size = float(np.interp(cell, [0.14, 0.42, 0.75], [6, 7, 9]))
    axes.set_yticks(places, rows, fontsize=size)
    if count <= _FEW:
        columns = [_wrapped(sentence, _FEW_LABEL_WIDTH, 2 * lines) for sentence in sentences]
        axes.set_xticks(places, columns, fontsize=size)
    else:
        axes.set_xticks(places, rows, fontsize=size, rotation=90, va="top")
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_parse_math(False)  # prices are no formulas
        label.set_linespacing(1.05)
    axes.set_xticks(np.arange(count - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(count - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)


def _annotate(axes: Axes, scores: NDArray[np.float32], scale: Normalize, cell: float) -> None:
    """Write every score into its cell, light on dark."""
    low, high = scale.vmin or 0.0, scale.vmax or 0.0
    size = float(np.interp(cell, [0.42, 1.1], [6.5, 12]))
    for (row, column), score in np.ndenumerate(scores):
        shade = (score - low) / ((high - low) or 1.0)
        axes.text(
            column,
            row,
            two_decimals(float(score)),
            ha="center",
            va="center",
            fontsize=size,
            color="white" if shade > DARK_PART else "black",
        )


def _wrapped(sentence: str, width: int, lines: int) -> str:
    return "\n".join(textwrap.wrap(sentence, width, max_lines=lines, placeholder=" …"))
