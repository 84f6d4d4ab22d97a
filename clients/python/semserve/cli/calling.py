"""A client for one command: with progress on a terminal, and failures that say what to do."""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from semserve.cli.failure import Failure

if TYPE_CHECKING:
    from semserve import Client, SemserveError

# What gRPC itself says where no server was reached; a server that is not ready says otherwise.
_NOT_REACHED = re.compile(r"failed to connect|errors? resolving|DNS resolution", re.IGNORECASE)


@contextmanager
def calling(address: str, timeout: float) -> Iterator["Client"]:
    """Give a client whose calls show their progress.

    Raises:
        Failure: a call failed.
    """
    from semserve import Client, SemserveError  # noqa: PLC0415 - --help needs no gRPC

    try:
        with _bar() as progress, Client(address, timeout=timeout, progress=progress) as client:
            yield client
    except SemserveError as error:
        raise Failure(_advice(error, address)) from error


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    """Show a bar on standard error while a call takes its time, if somebody looks."""
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console  # noqa: PLC0415 - as above
    from rich.progress import Progress  # noqa: PLC0415 - as above

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("waiting for the server", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _advice(error: "SemserveError", address: str) -> str:
    from semserve import (  # noqa: PLC0415 - as above
        DeadlineExceeded,
        ModelNotFound,
        Overloaded,
        Unavailable,
    )

    match error:
        case Unavailable() if _NOT_REACHED.search(str(error)):
            return f"nothing answers at {address}; start the server with make serve"
        case DeadlineExceeded():
            return f"{error}; give more seconds with --timeout"
        case Overloaded(retry_after=float(seconds)):
            return f"{error}; try again in {seconds:g} s"
        case ModelNotFound():
            return f"{error}; `semserve models` lists what there is"
    return str(error)
