# ruff: noqa: T201 - a command speaks by printing
"""The command `semserve`: every call of the client, from a shell.

Exit codes: 0, the call was answered; 1, it failed; 2, it was asked for in a wrong way.
"""

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from semserve.cli.failure import Failure, UsageError
from semserve.cli.reading import STANDARD_INPUT

SHARED = (
    *("--address", "--key", "--tls-ca", "--tls-certificate", "--tls-key"),
    *("--output", "--timeout", "--model"),
)
"""Flags that may also stand before the command."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with these arguments, by default those of the process, and exit."""
    from cyclopts import CycloptsError  # noqa: PLC0415 - so that an import costs nothing

    from semserve.cli import server, similarity, texts  # noqa: F401, PLC0415 - they join the app
    from semserve.cli.app import app  # noqa: PLC0415 - likewise

    given = sys.argv[1:] if arguments is None else arguments
    tokens = [STANDARD_INPUT if argument == "-" else argument for argument in given]
    tokens = _after_the_command(tokens)
    try:
        try:
            app(tokens, exit_on_error=False, print_error=False)
        finally:
            sys.stdout.flush()  # here, where a reader that has left is an answer and no trace
    except CycloptsError as error:
        _stop(str(error), UsageError.code)
    except Failure as error:
        _stop(str(error), error.code)
    except BrokenPipeError:
        # Whoever read the output has seen enough. Python would complain again when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(Failure.code)
    except OSError as error:
        if error.filename is None:
            raise
        _stop(f"{error.filename}: {error.strerror}", UsageError.code)


def _after_the_command(tokens: Sequence[str]) -> list[str]:
    """Let `semserve --address A compare` mean `semserve compare --address A`."""
    at = 0
    while at < len(tokens) and tokens[at].partition("=")[0] in SHARED:
        at += 1 if "=" in tokens[at] else 2
    shared, rest = tokens[:at], tokens[at:]
    end = rest.index("--") if "--" in rest else len(rest)  # what follows are no flags
    return [*rest[:end], *shared, *rest[end:]]


def _stop(text: str, code: int) -> NoReturn:
    """Say in one line why there is no answer, and exit."""
    print("semserve:", *text.split(), file=sys.stderr)
    sys.exit(code)
