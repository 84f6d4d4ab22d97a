# ruff: noqa: T201 - a command speaks by printing
"""The output of commands: one JSON document in each line, or a table for people."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from semserve import Usage

# Least width of a wrapped column of texts, and the gap between columns.
_LEAST_TEXT_WIDTH = 8
_GAP = 2


def print_json(document: Any) -> None:
    """Print one document on one line, in ASCII if the output's encoding is not Unicode."""
    takes_unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    print(json.dumps(document, ensure_ascii=not takes_unicode))


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, whole_words: bool = False
) -> None:
    """Print a table. Numbers are right-aligned, and other cells are wrapped.

    Args:
        columns: headers.
        rows: one cell for each column.
        whole_words: whether no word is cut in two, even if the table gets wider than the terminal.
    """
    from rich.console import Console  # noqa: PLC0415 - --help and JSON need none of it
    from rich.table import Table  # noqa: PLC0415 - likewise
    from rich.text import Text  # noqa: PLC0415 - likewise

    cells = [[_cell(value) for value in row] for row in rows]
    table = Table(box=None, pad_edge=False, header_style="bold")
    least = 0
    for place, column in enumerate(columns):
        if all(isinstance(row[place], Figures) for row in cells):
            width = max(len(column), *(len(row[place]) for row in cells), 0)
            table.add_column(column, justify="right", no_wrap=True, min_width=width)
        else:
            words = [word for row in cells for word in row[place].split()]
            width = max(map(len, (column, *words))) if whole_words else _LEAST_TEXT_WIDTH
            table.add_column(column, overflow="fold", min_width=width if whole_words else None)
        least += width + _GAP
    for row in cells:
        # A Text, because brackets in a user's text are not markup.
        table.add_row(*(Text(cell) for cell in row))
    console = Console(highlight=False)
    console.width = max(console.width, least)  # too wide is better than cut numbers
    console.print(table)


def shortest(numbers: Iterable[float]) -> list[float]:
    """Return float32 numbers as floats with the shortest decimal form, for JSON."""
    from numpy import float32  # noqa: PLC0415 - --help needs none of it

    return [float(str(float32(number))) for number in numbers]


def usage_document(usage: "Usage") -> dict[str, int]:
    """Return the cost of a call, with the names of the schema."""
    return {"token_count": usage.token_count, "padded_token_count": usage.padded_token_count}


class Figures(str):
    """A cell of numbers, which is right-aligned and never wrapped."""

    __slots__ = ()


def _cell(value: object) -> str:
    if value is None or isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, int):
        return Figures(value)
    if isinstance(value, float):
        return Figures(f"{value:.4f}")
    return value if isinstance(value, str) else str(value)
