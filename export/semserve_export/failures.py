"""Prints an error as one line, and determines the exit code."""

import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from semserve_export.errors import ExportError

FAILED = 2  # the command cannot do its work
BUG = 1  # a bug of semserve-export
STOPPED = 130  # interrupted by Ctrl-C: 128 plus the number of the signal, as in shells
LINE_MAX = 1000  # characters
COLOURS = re.compile("\x1b\\[[0-9;]*m")
FULL = re.compile("No space left on device|File too large|Disk quota exceeded")
REASON = re.compile(r"[A-Za-z_.]+: ")  # the class of an error, at the end of a traceback


def report_error(error: BaseException, *, debug: bool) -> int:
    """Write one line about an error to standard error, and return the exit code.

    Args:
        error: what a command raised.
        debug: also write the traceback, before the line.
    """
    if debug:
        traceback.print_exception(error)
    line, code = _line_of(error)
    sys.stderr.write(f"semserve-export: {one_line(line)}\n")
    return code


@contextmanager
def naming_a_full_disk(place: Path) -> Iterator[None]:
    """Name the place that is written where an error says that the disk is full.

    The system names no file in such an error, and safetensors and HDF5 have errors of their own.

    Raises:
        ExportError: the disk is full.
    """
    try:
        yield
    except Exception as error:
        if found := FULL.search(str(error)):
            raise ExportError(f"cannot write {place}: {found[0]}") from error
        raise


def reason_of(error: BaseException) -> str:
    """Return one line for the error of a library, with the file or the key that it names."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, KeyError) and error.args:
        return f"{error.args[0]!r} is missing"
    plain = COLOURS.sub("", str(error))
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if lines[0].startswith("Graph execution error"):  # the reason precedes the name of the node
        last = next((i for i, line in enumerate(lines) if line.startswith("[[{{node")), 0)
        return lines[last - 1] if last else lines[0]
    if lines[0] == "in user code:":  # TensorFlow prints the stack before the reason
        start = next((i for i, line in enumerate(lines) if REASON.match(line)), 0)
        lines = lines[start:]
    if "Exception encountered when calling" in lines[0]:  # Keras's title; the reason is below
        return " ".join(lines[:2])
    return lines[0]


def one_line(text: str) -> str:
    """Shorten a text to one line of limited length."""
    line = " ".join(text.split())
    return line if len(line) <= LINE_MAX else f"{line[:LINE_MAX]}…"


def _line_of(error: BaseException) -> tuple[str, int]:
    if isinstance(error, ExportError):
        return str(error), FAILED
    if isinstance(error, KeyboardInterrupt):
        return "stopped", STOPPED
    if isinstance(error, MemoryError):
        return "there is not enough memory", FAILED
    if isinstance(error, OSError) and error.strerror:
        return reason_of(error), FAILED
    return (
        f"this is a fault of semserve-export ({type(error).__name__}: {reason_of(error)}); please"
        " report it with what the same command prints with --debug"
    ), BUG
