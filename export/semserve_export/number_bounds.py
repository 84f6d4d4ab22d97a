"""The least and the largest value of the numbers that a user gives."""

from collections.abc import Mapping
from typing import Any, get_args

from cyclopts import App, ArgumentCollection, CoercionError

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


def require_length(plan: Any, most: int) -> None:
    """Refuse more tokens than a model takes; the default of the plan is only a limit.

    Args:
        plan: a plan with the field `max_tokens`.
        most: most tokens of the model.

    Raises:
        ExportError: it names the flag and the tokens of the model.
    """
    if plan.max_tokens > most and plan.max_tokens != type(plan)().max_tokens:
        raise ExportError(f"--max-tokens {plan.max_tokens}: the model takes at most {most}")


def refuse_fractions(_app: App, _commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Refuse a fraction for a whole number, which cyclopts would round. A `config` of an `App`."""
    for argument in arguments:
        if int in (argument.hint, *get_args(argument.hint)):
            for token in argument.tokens:
                if "." in token.value:
                    raise CoercionError(argument=argument, token=token, target_type=int)
