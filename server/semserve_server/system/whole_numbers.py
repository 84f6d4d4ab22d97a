"""Whole numbers on the command line and in environment variables."""

from __future__ import annotations

from typing import get_args

from cyclopts import App, ArgumentCollection, CoercionError


def refuse_fractions(_app: App, _commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Refuse a fraction for a whole number, which cyclopts would round. A `config` of an `App`."""
    for argument in arguments:
        if int in (argument.hint, *get_args(argument.hint)):
            for token in argument.tokens:
                if "." in token.value:
                    raise CoercionError(argument=argument, token=token, target_type=int)
