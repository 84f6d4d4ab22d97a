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


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with these arguments, by default those of the process, and exit."""
    from cyclopts import CycloptsError  # noqa: PLC0415 - so that an import costs nothing

    from semserve.cli import server, similarity, texts  # noqa: F401, PLC0415 - they join the app
    from semserve.cli.app import app  # noqa: PLC0415 - likewise

    given = sys.argv[1:] if arguments is None else arguments
    tokens = [STANDARD_INPUT if argument == "-" else argument for argument in given]
    try:
        app(tokens, exit_on_error=False, print_error=False)
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


def _stop(text: str, code: int) -> NoReturn:
    """Say in one line why there is no answer, and exit."""
    print("semserve:", *text.split(), file=sys.stderr)
    sys.exit(code)
