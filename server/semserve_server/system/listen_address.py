"""Listen addresses: HOST:PORT as given in settings, and whether another server has the port."""

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
"""A socket address. Its length depends on the address family."""


def check_address(address: str) -> None:
    """Refuse an address that gRPC would misread.

    Raises:
        ConfigError: the address is neither HOST:PORT nor unix:PATH.
    """
    if not address.startswith(UNIX):
        host_port("--address", address, ", or unix:PATH")


def host_port(flag: str, address: str, alternatives: str = "") -> tuple[str, int]:
    """Split an address into host and port. Brackets stay around an IPv6 host.

    Args:
        flag: name of the flag, for the error.
        address: HOST:PORT.
        alternatives: other accepted forms, for the error.

    Raises:
        ConfigError: the address is not HOST:PORT.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > LARGEST_PORT:
        raise ConfigError(
            f"{flag} {address}: give HOST:PORT, the port at most {LARGEST_PORT}{alternatives}"
        )
    return host, int(port)


def is_local(address: str) -> bool:
    """Return whether only this machine can reach an address."""
    host = address.rpartition(":")[0].strip("[]")
    return address.startswith(UNIX) or host in {"localhost", "::1"} or host.startswith("127.")


def cannot_listen(address: str) -> ConfigError:
    """Create the error of an address that cannot be bound."""
    return ConfigError(
        f"--address {address}: cannot listen there: the port is in use, or this machine does "
        "not have the address"
    )


@contextmanager
def reserved(address: str) -> Iterator[str]:
    """Hold an address for the worker processes that will share it.

    Yields the address with its port.

    Sockets that share a port with SO_REUSEPORT accept every other socket of the same user, so a
    second server would silently take half of the connections. A socket that does not share the port
    is refused if any other socket listens there. This function tries that first.

    Raises:
        ConfigError: another server listens there, or this machine does not have the address.
    """
    host, port = host_port("--address", address)
    with ExitStack() as held:
        try:
            for family, where in _local_addresses(host, port):
                with _bound(family, (where[0], port, *where[2:]), share=False) as alone:
                    port = alone.getsockname()[1]
                held.enter_context(_bound(family, (where[0], port, *where[2:]), share=True))
        except OSError as error:
            raise cannot_listen(address) from error
        yield f"{host}:{port}"


def _local_addresses(host: str, port: int) -> list[tuple[int, Where]]:
    """Look up the addresses of a host name that this machine has.

    Raises:
        OSError: this machine has none of them.
    """
    host = host.strip("[]")
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    local: list[tuple[int, Where]] = [
        (family, where) for family, _, _, _, where in found if _is_of_this_machine(family, where)
    ]
    if not local:
        raise OSError(errno.EADDRNOTAVAIL, "no address of this machine")
    return local


def _is_of_this_machine(family: int, where: Where) -> bool:
    try:
        _bound(family, (where[0], 0, *where[2:]), share=True).close()
    except OSError as error:
        if error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
            return False
        raise
    return True


def _bound(family: int, where: Where, *, share: bool) -> socket.socket:
    """Bind a socket that accepts no connections."""
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Closed connections of an earlier server keep the port in TIME_WAIT for a minute. They do
        # no harm.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(where)
    except OSError:
        bound.close()
        raise
    return bound
