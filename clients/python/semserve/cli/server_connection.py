"""The client of one command: it waits for the server, shows progress, and explains failures."""

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from semserve.cli.command_error import CommandError, UsageError

if TYPE_CHECKING:
    import grpc

    from semserve import Client, Retry, SemserveError

PROBE_SECONDS = 0.2
"""Seconds between two health checks of a server that is starting."""
_TLS_FAILED = re.compile(r"handshake|SSL|certificate|TLS|tsi_", re.IGNORECASE)
# gRPC's words if no server listens at the address yet: a closed port, or a missing socket.
_STARTING = "the server is starting"
_NOT_LISTENING = re.compile(r"connection refused|no such file", re.IGNORECASE)


class Tls(NamedTuple):
    """PEM files for an encrypted connection."""

    ca: Path | None
    "Trusted authorities; None for gRPC's default ones."
    key: Path | None
    certificate: Path | None

    def credentials(self) -> "grpc.ChannelCredentials":
        """Read the files.

        Raises:
            UsageError: only one of certificate and key is given.
            OSError: a file cannot be read.
        """
        import grpc  # noqa: PLC0415 - --help must not wait for it

        if (self.key is None) != (self.certificate is None):
            raise UsageError("--tls-certificate and --tls-key go together")
        files = [None if path is None else path.read_bytes() for path in self]
        return grpc.ssl_channel_credentials(*files)


@contextmanager
def connect(
    address: str,
    timeout: float,
    *,
    wait: float = 0.0,
    key: str = "",
    retry: "Retry | None" = None,
    tls: Tls | None = None,
) -> Iterator["Client"]:
    """Create a client for a command, once its server is ready.

    Args:
        address: address of the server.
        timeout: seconds for a call.
        wait: most seconds to wait for a server that is starting; 0 for none.
        key: API key.
        retry: when a failed request is sent again; None for the client's default.
        tls: files for an encrypted connection.

    Raises:
        CommandError: a call failed.
        UsageError: the address or the key is invalid.
    """
    from semserve import Client, SemserveError  # noqa: PLC0415 - --help needs no gRPC

    credentials = tls and tls.credentials()
    with _bar() as progress:
        try:
            client = Client(
                address,
                timeout=timeout,
                progress=progress,
                key=key,
                credentials=credentials,
                retry=retry,
            )
        except ValueError as error:  # such as an address without a port
            raise UsageError(str(error)) from error
        try:
            with client:
                _wait_until_ready(client, wait)
                yield client
        except SemserveError as error:
            raise CommandError(_advice(error, client.address, encrypted=tls is not None)) from error


def _wait_until_ready(client: "Client", seconds: float) -> None:
    """Wait while the server is starting, and say so once on standard error.

    Returns after `seconds` in any case: then the command's own call shows the error.
    """
    if not seconds:
        return
    end = time.monotonic() + seconds
    announced = False
    while _is_starting(client, max(end - time.monotonic(), PROBE_SECONDS)):
        if time.monotonic() + PROBE_SECONDS >= end:
            return
        if not announced:
            announced = True
            line = f"semserve: waiting up to {seconds:g} s for the server at {client.address}"
            print(line, file=sys.stderr, flush=True)  # noqa: T201 - a command prints
        time.sleep(PROBE_SECONDS)


def _is_starting(client: "Client", seconds: float) -> bool:
    """Check once whether the server does not listen yet, or has not loaded its models yet."""
    from semserve import SemserveError, Unavailable  # noqa: PLC0415 - as above

    try:
        if client.health(timeout=seconds) == "serving":
            return False
        client.models(timeout=seconds)  # UNAVAILABLE only until the first models are loaded
    except Unavailable as error:
        message = str(error)
        return bool(_NOT_LISTENING.search(message) or _STARTING in message)
    except SemserveError:  # such as a missing key: the server answers
        pass
    return False


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on standard error during a long call, if that is a terminal."""
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
            return f"{error}; set SEMSERVE_KEY or --key"
        case Unavailable():
            return _connection_advice(str(error), address, encrypted=encrypted)
        case DeadlineExceeded():
            return f"{error}; allow more seconds with --timeout"
        case Overloaded(retry_after=float(seconds)):
            return f"{error}; try again in {seconds:g} s"
        case ModelNotFound():
            return f"{error}; `semserve models` lists the models"
    return str(error)


def _connection_advice(message: str, address: str, *, encrypted: bool) -> str:
    """Explain why no server was reached. A server that is not ready sends a message itself."""
    from semserve.connection.address import proxy_variable  # noqa: PLC0415 - as above
    from semserve.connection.options import NOT_REACHED  # noqa: PLC0415 - as above

    if encrypted and _TLS_FAILED.search(message):
        return f"no TLS with {address}: {message}; for a server without TLS, omit the --tls flags"
    if not NOT_REACHED.search(message):
        return message
    if variable := proxy_variable(address, os.environ):
        advice = f"{variable} is set: unset it, or add the host to no_proxy"
        return f"nothing answers at {address} through the proxy; {advice}"
    return f"nothing answers at {address}; start the server with make serve"
