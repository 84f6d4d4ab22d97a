"""What a shell, cron or a container gives the command: files, variables, encodings."""

import io
import os
import sys

_VARIABLES = ("SEMSERVE_ADDRESS", "SEMSERVE_KEY", "SEMSERVE_TLS_CA")
# Help and tables need so many columns to be read.
_LEAST_COLUMNS = 40


def prepare() -> None:
    """Make the surroundings such that every command can run in them."""
    _open_standard_files()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A character that the encoding lacks is written as an escape, not as a traceback.
            stream.reconfigure(errors="backslashreplace")
    for name in _VARIABLES:
        if os.environ.get(name) == "":  # as containers pass what is not set
            del os.environ[name]
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns) < _LEAST_COLUMNS:
        os.environ["COLUMNS"] = str(_LEAST_COLUMNS)
    # The command says in one line what gRPC's C core would log in many.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def as_utf8(argument: str) -> str:
    """Read an argument as UTF-8 where the locale's encoding, such as ASCII, could not read it."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        return os.fsencode(argument).decode("utf-8", "surrogateescape")
    return argument


def discard_output() -> None:
    """Let what is still buffered go nowhere, or Python complains when it flushes at the end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            os.dup2(nowhere, stream.fileno())


def _open_standard_files() -> None:
    """Open /dev/null where standard input, output or error is closed.

    The next file or connection would get the number of the closed one, and what a library prints
    would be sent to the server.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is not None:
            continue
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY
        opened = os.open(os.devnull, flags)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)
        setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", encoding="utf-8"))
