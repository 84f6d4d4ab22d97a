"""Adapts the command to its shell, cron or container: files, variables, encodings."""

import io
import os
import sys

_VARIABLES = ("SEMSERVE_ADDRESS", "SEMSERVE_KEY", "SEMSERVE_TLS_CA")
# Least number of columns for readable help and tables.
_LEAST_COLUMNS = 40


def prepare() -> None:
    """Adapt the process so that every command can run."""
    _open_standard_files()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A character that the encoding lacks is written as an escape, without a traceback.
            stream.reconfigure(errors="backslashreplace")
    for name in _VARIABLES:
        if os.environ.get(name) == "":  # as containers pass what is not set
            del os.environ[name]
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns) < _LEAST_COLUMNS:
        os.environ["COLUMNS"] = str(_LEAST_COLUMNS)
    # The command reports in one line what gRPC's C core would log in many.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def as_utf8(argument: str) -> str:
    """Decode an argument as UTF-8 if the locale's encoding, such as ASCII, could not."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        return os.fsencode(argument).decode("utf-8", "surrogateescape")
    return argument


def discard_output() -> None:
    """Discard buffered output, because Python would fail to flush it at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            os.dup2(nowhere, stream.fileno())


def _open_standard_files() -> None:
    """Open /dev/null for standard input, output or error if it is closed.

    Otherwise the next file or connection would get the number of the closed one, and the output of
    a library would be sent to the server.
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
