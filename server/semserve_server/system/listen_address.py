"""HOST:PORT, as settings give it, and whether somebody listens there already."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from semserve_server.errors import ConfigError
from semserve_server.system.unix_socket import UNIX

LARGEST_PORT = 65_535
Where = tuple[Any, ...]
"""An address as sockets take it; how long it is depends on the family."""


def check_address(address: str) -> None:
    """Refuse what gRPC would take for another address than was meant.

    Raises:
        ConfigError: it is neither HOST:PORT nor unix:PATH.
    """
    if not address.startswith(UNIX):
        host_port("--address", address, ", or unix:PATH")


def host_port(flag: str, address: str, otherwise: str = "") -> tuple[str, int]:
    """Take an address apart; brackets stay around an IPv6 one.

    Args:
        flag: what it was given with, for the error.
        address: HOST:PORT.
        otherwise: what else might have been given, for the error.

    Raises:
        ConfigError: it is not HOST:PORT.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > LARGEST_PORT:
        raise ConfigError(
            f"{flag} {address}: give HOST:PORT, the port at most {LARGEST_PORT}{otherwise}"
        )
    return host, int(port)


def is_local(address: str) -> bool:
    """Tell whether only this machine can reach an address."""
    host = address.rpartition(":")[0].strip("[]")
    return address.startswith(UNIX) or host in {"localhost", "::1"} or host.startswith("127.")


def cannot_listen(address: str) -> ConfigError:
    """Make the error of an address that cannot be bound."""
    return ConfigError(
        f"--address {address}: cannot listen there: the port is taken, or the host is not "
        "this machine's"
    )


@contextmanager
def reserved(address: str) -> Iterator[str]:
    """Hold an address for processes of ours that will share it; yields it with port 0 resolved.

    Sockets that share a port with SO_REUSEPORT refuse nobody of the same user, so a second server
    would take half of the first one's connections in silence. A socket that does not share is
    refused where any other listens: it is tried first.

    Raises:
        ConfigError: somebody listens there, or the host is not this machine's.
    """
    host, port = host_port("--address", address)
    with ExitStack() as held:
        try:
            for family, where in _found(host, port):
                with _bound(family, (where[0], port, *where[2:]), share=False) as alone:
                    port = alone.getsockname()[1]
                held.enter_context(_bound(family, (where[0], port, *where[2:]), share=True))
        except OSError as error:
            raise cannot_listen(address) from error
        yield f"{host}:{port}"


def _found(host: str, port: int) -> list[tuple[int, Where]]:
    """Look up a host, whose name may stand for addresses that this machine lacks: without those.

    Raises:
        OSError: it has none of them.
    """
    host = host.strip("[]")
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    ours: list[tuple[int, Where]] = [
        (family, where) for family, _, _, _, where in found if _is_ours(family, where)
    ]
    if not ours:
        raise OSError(errno.EADDRNOTAVAIL, "no address of this machine")
    return ours


def _is_ours(family: int, where: Where) -> bool:
    try:
        _bound(family, (where[0], 0, *where[2:]), share=True).close()
    except OSError as error:
        if error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
            return False
        raise
    return True


def _bound(family: int, where: Where, *, share: bool) -> socket.socket:
    """Bind a socket that takes no connections."""
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Connections that a former server closed stay for a minute, and are in nobody's way.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(where)
    except OSError:
        bound.close()
        raise
    return bound
