"""A client for one command: with progress on a terminal, and failures that say what to do."""

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from semserve.cli.failure import Failure, UsageError

if TYPE_CHECKING:
    import grpc

    from semserve import Client, SemserveError

_TLS_FAILED = re.compile(r"handshake|SSL|certificate|TLS|tsi_", re.IGNORECASE)


class Tls(NamedTuple):
    """PEM files for an encrypted connection."""

    ca: Path | None
    "Authorities to trust; None for those that gRPC knows."
    key: Path | None
    certificate: Path | None

    def credentials(self) -> "grpc.ChannelCredentials":
        """Read the files.

        Raises:
            UsageError: a certificate goes only with its key.
            OSError: a file cannot be read.
        """
        import grpc  # noqa: PLC0415 - --help must not wait for it

        if (self.key is None) != (self.certificate is None):
            raise UsageError("--tls-certificate and --tls-key go together")
        files = [None if path is None else path.read_bytes() for path in self]
        return grpc.ssl_channel_credentials(*files)


@contextmanager
def calling(
    address: str, timeout: float, *, key: str = "", tls: Tls | None = None
) -> Iterator["Client"]:
    """Give a client whose calls show their progress.

    Raises:
        Failure: a call failed.
        UsageError: the address or the key cannot be used.
    """
    from semserve import Client, SemserveError  # noqa: PLC0415 - --help needs no gRPC

    credentials = tls and tls.credentials()
    with _bar() as progress:
        try:
            client = Client(
                address, timeout=timeout, progress=progress, key=key, credentials=credentials
            )
        except ValueError as error:  # such as an address without a port
            raise UsageError(str(error)) from error
        try:
            with client:
                yield client
        except SemserveError as error:
            raise Failure(_advice(error, client.address, encrypted=tls is not None)) from error


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


def _advice(error: "SemserveError", address: str, *, encrypted: bool) -> str:
    from semserve import (  # noqa: PLC0415 - as above
        DeadlineExceeded,
        ModelNotFound,
        Overloaded,
        Unauthenticated,
        Unavailable,
    )

    match error:
        case Unauthenticated():
            return f"{error}; set SEMSERVE_KEY, or give --key"
        case Unavailable():
            return _connection_advice(str(error), address, encrypted=encrypted)
        case DeadlineExceeded():
            return f"{error}; give more seconds with --timeout"
        case Overloaded(retry_after=float(seconds)):
            return f"{error}; try again in {seconds:g} s"
        case ModelNotFound():
            return f"{error}; `semserve models` lists what there is"
    return str(error)


def _connection_advice(said: str, address: str, *, encrypted: bool) -> str:
    """Say what to do where no server was reached; a server that is not ready says so itself."""
    from semserve.address import proxy_variable  # noqa: PLC0415 - as above
    from semserve.options import NOT_REACHED  # noqa: PLC0415 - as above

    if encrypted and _TLS_FAILED.search(said):
        return f"no TLS with {address}: {said}; a server without TLS is asked without --tls"
    if not NOT_REACHED.search(said):
        return said
    if variable := proxy_variable(address, os.environ):
        advice = f"{variable} is set: unset it, or name the host in no_proxy"
        return f"nothing answers at {address} through the proxy; {advice}"
    return f"nothing answers at {address}; start the server with make serve"
