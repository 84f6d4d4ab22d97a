# ruff: noqa: T201 - a command speaks by printing
"""What a command prints: a JSON document a line, or a table for people."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from semserve import Usage

# A column of texts is wrapped, but not narrower than this; between columns is a gap.
_LEAST_TEXT_WIDTH = 8
_GAP = 2


def print_json(document: Any) -> None:
    """Print one document on one line, in ASCII alone where the output takes no Unicode."""
    takes_unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    print(json.dumps(document, ensure_ascii=not takes_unicode))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under their columns; numbers stand at the right."""
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
            width = _LEAST_TEXT_WIDTH
            table.add_column(column, overflow="fold")
        least += width + _GAP
    for row in cells:
        # A Text, because the brackets of a user's text are no markup.
        table.add_row(*(Text(cell) for cell in row))
    console = Console(highlight=False)
    console.width = max(console.width, least)  # rather too wide than without a figure's digits
    console.print(table)


def shortest(numbers: Iterable[float]) -> list[float]:
    """Write float32 numbers with no more digits than they have, as JSON wants them."""
    from numpy import float32  # noqa: PLC0415 - --help needs none of it

    return [float(str(float32(number))) for number in numbers]


def cost(usage: "Usage") -> dict[str, int]:
    """Give what a call cost, as the schema names it."""
    return {"token_count": usage.token_count, "padded_token_count": usage.padded_token_count}


class Figures(str):
    """A cell of numbers, which stands at the right and is never broken."""

    __slots__ = ()


def _cell(value: object) -> str:
    if value is None or isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, int):
        return Figures(value)
    if isinstance(value, float):
        return Figures(f"{value:.4f}")
    return value if isinstance(value, str) else str(value)
