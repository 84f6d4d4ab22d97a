"""The least and the largest value of the numbers that a user gives."""

from collections.abc import Mapping
from typing import Any

from semserve_export.errors import ExportError

Bounds = Mapping[str, tuple[float, float]]
SEEDS = (0, 2**32 - 1)
"""Of numpy's generators, which take no others."""


def require_within(plan: Any, bounds: Bounds) -> None:
    """Refuse a plan with a number outside its bounds; None is inside.

    Args:
        plan: a dataclass with a field for each name in `bounds`.
        bounds: the least and the largest value of each field, by its name.

    Raises:
        ExportError: it names the flag and the bounds. NaN is outside of all bounds.
    """
    for name, (least, largest) in bounds.items():
        value = getattr(plan, name)
        if value is not None and not least <= value <= largest:
            flag = name.replace("_", "-")
            raise ExportError(f"--{flag}: {value} is not between {least:g} and {largest:,g}")
