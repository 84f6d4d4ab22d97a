# ruff: noqa: T201 - a command speaks by printing
"""The output of commands: a table for people, or JSON, CSV and plain lines for programs."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from semserve.cli.command_error import CommandError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.bar import Bar
    from rich.console import Console, RenderableType
    from rich.style import Style

    from semserve import Usage

Format = Literal["table", "text", "json", "jsonl", "csv", "tsv"]
"""The values of --output."""
# Least width of a wrapped column of texts, and the gap between columns.
_LEAST_TEXT_WIDTH = 8
_GAP = 2
_BAR_WIDTH = 20
# Least width of a terminal for bars and colours.
_LEAST_PICTURE_WIDTH = 72
# The colours of the lowest and the highest score of a matrix.
_LIGHT, _DARK = (255, 255, 217), (8, 29, 88)
DARK_PART = 0.55
"""Above this part of the colour range a cell is too dark for dark digits."""


def print_results(
    form: Format, document: Any, results: Sequence[Mapping[str, Any]], main: str
) -> None:
    """Print the results of a command in a format for programs.

    Args:
        form: any format but `table`.
        document: what `json` prints, as JSON values.
        results: what the other formats print, one in each line.
        main: the field of a result that `text` prints.

    Raises:
        CommandError: the format is `text`, and a value has a line break.
    """
    if form == "json":
        print_json(document)
    elif form == "jsonl":
        for result in results:
            print_json(result)
    elif form == "text":
        lines = [" ".join(map(str, _listed(result[main]))) for result in results]
        if any("\n" in line or "\r" in line for line in lines):
            raise CommandError(f"--output text: a {main} has a line break; choose jsonl or csv")
        print(*lines, sep="\n")
    else:
        from semserve.bulk.row_files import csv_lines  # noqa: PLC0415 - --help needs no numpy

        rows = [_flat(result) for result in results]
        columns = [*dict.fromkeys(name for row in rows for name in row)]
        cells = [[row.get(name) for name in columns] for row in rows]
        sys.stdout.flush()
        sys.stdout.buffer.write(csv_lines([columns, *cells], tabs=form == "tsv"))


def _flat(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cells of a result by column.

    Every number of a list or a mapping gets a column: `vector_0`, `scores_neutral`. Other lists,
    mappings and booleans become JSON.
    """
    cells: dict[str, Any] = {}
    for name, value in result.items():
        parts = dict(enumerate(value)) if isinstance(value, (list, tuple)) else value
        if isinstance(parts, Mapping) and parts and all(map(_is_number, parts.values())):
            cells |= {f"{name}_{key}": part for key, part in parts.items()}
        else:
            nested = isinstance(value, (Mapping, list, tuple, bool))
            cells[name] = json.dumps(value, ensure_ascii=False) if nested else value
    return cells


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def print_json(document: Any) -> None:
    """Print one document on one line, in ASCII if the output's encoding is not Unicode."""
    print(json.dumps(document, ensure_ascii=not _takes_unicode()))


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    whole_words: bool = False,
    bars: str = "",
) -> None:
    """Print a table. Numbers are right-aligned, and other cells are wrapped.

    Args:
        columns: headers.
        rows: one cell for each column.
        whole_words: whether no word is cut in two, even if the table gets wider than the terminal.
        bars: column of scores that get bars beside them, if the output is a terminal that shows
            pictures and there are several rows.
    """
    from rich.console import Console  # noqa: PLC0415 - --help and JSON need none of it
    from rich.table import Table  # noqa: PLC0415 - likewise
    from rich.text import Text  # noqa: PLC0415 - likewise

    console = Console(highlight=False)
    pictures = _shows_pictures(console)
    rows = [*rows]
    place_of_bars = columns.index(bars) + 1 if bars and pictures and len(rows) > 1 else 0
    cells = [[_cell(value) for value in row] for row in rows]
    table = Table(box=None, pad_edge=False, header_style="bold")
    least = 0
    for place, column in enumerate(columns, start=1):
        inside = [row[place - 1] for row in cells]
        if all(isinstance(cell, Figures) for cell in inside):
            width = max(len(column), *map(len, inside), 0)
            table.add_column(column, justify="right", no_wrap=True, min_width=width)
        else:
            words = [word for cell in inside for word in cell.split()]
            width = max(map(len, (column, *words))) if whole_words else _LEAST_TEXT_WIDTH
            table.add_column(column, overflow="fold", min_width=width if whole_words else None)
        if place == place_of_bars:
            table.add_column(width=_BAR_WIDTH)
        least += width + _GAP
    shaded = pictures and least <= console.width
    # A Text, because brackets in a user's text are not markup.
    shown: list[list[RenderableType]] = [
        [Text(cell, _shade(cell) if shaded and isinstance(cell, _Shaded) else "") for cell in row]
        for row in cells
    ]
    if place_of_bars:
        for row, bar in zip(shown, _bars([row[place_of_bars - 1] for row in rows]), strict=True):
            row.insert(place_of_bars, bar)
    for row in shown:
        table.add_row(*row)
    console.width = max(console.width, least)  # too wide is better than cut numbers
    console.print(table)


def print_matrix(texts: Sequence[str], scores: "NDArray[np.float32]") -> None:
    """Print the scores of texts with each other; in colours, if the output is a terminal with them.

    Args:
        texts: the texts of the rows and columns.
        scores: float32 (texts, texts).
    """
    low, high = score_range(scores)
    rows = [
        (index, text, *(_Shaded(score, (score - low) / ((high - low) or 1.0)) for score in row))
        for index, (text, row) in enumerate(zip(texts, scores.tolist(), strict=True))
    ]
    print_table(["index", "text", *map(str, range(len(texts)))], rows)


def score_range(scores: "NDArray[np.float32]") -> tuple[float, float]:
    """Return one range for all cosines, so that pictures are comparable, else the scores' range."""
    low, high = float(scores.min()), float(scores.max())
    tolerance = 1e-3
    if low >= -1 - tolerance and abs(high - 1) <= tolerance:
        return min(low, 0.0), 1.0
    return low, high


def two_decimals(score: float) -> str:
    """Return a score for a cell of a matrix."""
    return f"{round(score, 2) + 0.0:.2f}"  # + 0.0 makes a zero of minus zero


def _shows_pictures(console: "Console") -> bool:
    """Return whether the output is a terminal with colours and blocks, and wide enough."""
    return (
        sys.stdout.isatty()
        and console.is_terminal
        and not console.is_dumb_terminal
        and not console.no_color
        and console.width >= _LEAST_PICTURE_WIDTH
        and _takes_unicode()
    )


def _bars(scores: Sequence[Any]) -> "list[Bar]":
    """Return a bar for each score: from 0 to the right, or to the left for a negative score."""
    from rich.bar import Bar  # noqa: PLC0415 - as above

    low, high = min(0.0, *scores), max(0.0, *scores)
    return [
        Bar((high - low) or 1.0, min(score, 0.0) - low, max(score, 0.0) - low, width=_BAR_WIDTH)
        for score in scores
    ]


def _shade(cell: "_Shaded") -> "Style":
    """Return the colours of a cell, from light to dark."""
    from rich.color import Color, blend_rgb  # noqa: PLC0415 - as above
    from rich.color_triplet import ColorTriplet  # noqa: PLC0415 - likewise
    from rich.style import Style  # noqa: PLC0415 - likewise

    back = blend_rgb(ColorTriplet(*_LIGHT), ColorTriplet(*_DARK), cell.part)
    front = ColorTriplet(*(_LIGHT if cell.part > DARK_PART else _DARK))
    return Style(color=Color.from_triplet(front), bgcolor=Color.from_triplet(back))


def _takes_unicode() -> bool:
    return (sys.stdout.encoding or "").lower().startswith("utf")


def shortest(numbers: Iterable[float]) -> list[float]:
    """Return float32 numbers as floats with the shortest decimal form, for JSON."""
    from numpy import float32  # noqa: PLC0415 - --help needs none of it

    return [float(str(float32(number))) for number in numbers]


def usage_document(usage: "Usage") -> dict[str, int]:
    """Return the cost of a call, with the names of the schema."""
    return {"token_count": usage.token_count, "padded_token_count": usage.padded_token_count}


class Counted(Protocol):
    """The result of a call that counts its tokens."""

    @property
    def usage(self) -> "Usage":
        """Cost of the call."""

    @property
    def truncated_tokens(self) -> int:
        """Tokens that truncation dropped."""


def totals(found: Counted) -> dict[str, object]:
    """Return the counts of a whole call, with the names of the schema."""
    return {
        "truncated_tokens": found.truncated_tokens,
        "usage": usage_document(found.usage),
    }


class Figures(str):
    """A cell of numbers, which is right-aligned and never wrapped."""

    __slots__ = ()


class _Shaded(Figures):
    """A score of a matrix, and its part of the range of colours."""

    __slots__ = ("part",)
    part: float

    def __new__(cls, score: float, part: float) -> Self:
        cell = super().__new__(cls, two_decimals(score))
        cell.part = part
        return cell


def _cell(value: object) -> str:
    if value is None or isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, int):
        return Figures(value)
    if isinstance(value, float):
        return Figures(f"{value:.4f}")
    return value if isinstance(value, str) else str(value)
