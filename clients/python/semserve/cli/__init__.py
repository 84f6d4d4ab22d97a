# ruff: noqa: T201 - a command speaks by printing
"""The command `semserve`: every call of the client, from a shell."""

import sys
from collections.abc import Sequence
from typing import NoReturn

from semserve.cli.command_error import CommandError, UsageError
from semserve.cli.input_texts import STANDARD_INPUT
from semserve.cli.process_environment import as_utf8, discard_output, prepare

SHARED = (
    *("--address", "--key", "--tls-ca", "--tls-certificate", "--tls-key"),
    *("--output", "--timeout", "--wait", "--model"),
)
"""Flags with a value that may also precede the command."""
SHARED_SWITCHES = ("--tls",)
"""Flags without a value that may also precede the command."""
INTERRUPTED = 130
"""Exit code of an interrupted program, as in shells: 128 + SIGINT."""
_NEEDS = 'the command needs packages that are not installed: pip install "semserve[cli]"'


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with these arguments, by default those of the process, and exit."""
    prepare()
    try:
        _run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # the reader of the output has closed it
        discard_output()
        sys.exit(CommandError.code)
    except OSError as error:
        if error.filename is None:
            discard_output()
            _stop(f"standard output: {error.strerror}", CommandError.code)
        _stop(f"{error.filename}: {error.strerror}", UsageError.code)


def _run(arguments: Sequence[str]) -> None:
    """Run the command. Exit with one line if it fails.

    Raises:
        OSError: of a file that the error names, or of standard output, without a name.
    """
    try:
        import rich  # noqa: F401, PLC0415 - only to find out whether it is there
        from cyclopts import CycloptsError, UnknownOptionError  # noqa: PLC0415 - likewise
    except ImportError:
        _stop(_NEEDS, CommandError.code)
    from semserve.cli import (  # noqa: PLC0415 - these modules register the commands
        bench_command,  # noqa: F401
        score_commands,  # noqa: F401
        search_command,  # noqa: F401
        server_commands,  # noqa: F401
        similarity_commands,  # noqa: F401
        text_commands,  # noqa: F401
    )
    from semserve.cli.app import app  # noqa: PLC0415 - so that an import costs nothing

    tokens = [STANDARD_INPUT if one == "-" else as_utf8(one) for one in arguments]
    try:
        try:
            app(_after_the_command(tokens), exit_on_error=False, print_error=False)
        finally:
            sys.stdout.flush()  # here, where a reader that has left is an answer and no trace
    except UnknownOptionError as error:
        hint = "a text that begins with - goes after --, as in: semserve embed -- '-1 degrees'"
        _stop(f"{str(error).rstrip('.')}; {hint}", UsageError.code)
    except CycloptsError as error:
        _stop(str(error), UsageError.code)
    except CommandError as error:
        _stop(str(error), error.code)


def _after_the_command(tokens: Sequence[str]) -> list[str]:
    """Move flags that precede the command behind it.

    So `semserve --address A compare` means `semserve compare --address A`.

    Raises:
        UsageError: no command follows the flags.
    """
    at = 0
    while at < len(tokens) and tokens[at].partition("=")[0] in (*SHARED, *SHARED_SWITCHES):
        at += 1 if "=" in tokens[at] or tokens[at] in SHARED_SWITCHES else 2
    shared, rest = tokens[:at], tokens[at:]
    if shared and not rest:
        raise UsageError("no command behind the flags; `semserve --help` lists the commands")
    end = rest.index("--") if "--" in rest else len(rest)  # what follows are no flags
    return [*rest[:end], *shared, *rest[end:]]


def _stop(text: str, code: int) -> NoReturn:
    """Print one line with the reason, and exit."""
    try:
        print("semserve:", *text.split(), file=sys.stderr, flush=True)
    except OSError:  # nobody can be told; the exit code remains
        discard_output()
    sys.exit(code)
