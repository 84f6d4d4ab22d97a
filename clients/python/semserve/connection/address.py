"""Addresses: what gRPC can resolve, which are local, and which proxy is used."""

import ipaddress
import re
from collections.abc import Mapping

DEFAULT_ADDRESS = "127.0.0.1:50051"
# The resolvers of gRPC's C core: those for hosts with ports, and the others.
_HOST_SCHEMES = ("dns", "ipv4", "ipv6")
_OTHER_SCHEMES = ("unix", "unix-abstract", "vsock", "xds", "google-c2p", "google-c2p-experimental")
_MOST_PORT = 65_535
# sockaddr_un.sun_path of Linux holds 108 bytes with the closing NUL.
_MOST_PATH_BYTES = 107
# In the order in which gRPC reads them. It ignores the upper-case names.
_PROXY_VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")
_NO_PROXY_VARIABLES = ("no_grpc_proxy", "no_proxy")


def check_address(address: str) -> str:
    """Return an address without white space around it.

    Args:
        address: `HOST:PORT`, `[IPV6]:PORT`, `unix:PATH`, or another gRPC target.

    Raises:
        TypeError: the address is not a string.
        ValueError: gRPC cannot resolve it, or would use a port that is not in it; the message says
            what to write.
    """
    if not isinstance(address, str):
        raise TypeError(f"address must be a string, not {type(address).__name__}")
    address = address.strip()
    if not address:
        raise ValueError("address is empty: write HOST:PORT, such as localhost:50051")
    if re.search(r"[\s\x00-\x1f\x7f]", address):
        raise ValueError(f"address {address!r} has a space or a control character in it")
    scheme, rest = _split(address)
    if scheme in ("unix", "unix-abstract"):
        path = rest.removeprefix("//")
        if not path:
            raise ValueError(f"address {address!r} has no path: write unix:PATH")
        if len(path.encode()) > _MOST_PATH_BYTES:
            raise ValueError(f"address {address!r} has a path over {_MOST_PATH_BYTES} bytes")
    elif scheme in ("", *_HOST_SCHEMES):
        names = rest.split(",") if scheme in ("ipv4", "ipv6") else [rest]
        for name in names:
            _host(name, address)
    return address


def is_local(address: str) -> bool:
    """Return whether a valid address belongs to this machine: loopback, or a Unix socket."""
    scheme, rest = _split(address)
    if scheme in ("unix", "unix-abstract"):
        return True
    if scheme not in ("", *_HOST_SCHEMES):
        return False
    names = rest.split(",") if scheme in ("ipv4", "ipv6") else [rest]
    return all(_is_loopback(_host(name, address)) for name in names)


def proxy_variable(address: str, environment: Mapping[str, str]) -> str | None:
    """Return the variable of the proxy that gRPC uses for an address, or None."""
    scheme, rest = _split(address)
    if is_local(address) or scheme not in ("", "dns"):
        return None
    host = _host(rest, address).lower()
    excepted = next(
        (environment[name] for name in _NO_PROXY_VARIABLES if environment.get(name)), ""
    )
    suffixes = [one.strip().lower().removeprefix("*") for one in excepted.split(",")]
    if any(suffix and host.endswith(suffix) for suffix in suffixes):
        return None
    return next((name for name in _PROXY_VARIABLES if environment.get(name)), None)


def _split(address: str) -> tuple[str, str]:
    """Return the scheme, empty if there is none, and the rest.

    Raises:
        ValueError: gRPC does not know the scheme, such as http.
    """
    scheme, colon, rest = address.partition(":")
    if colon and scheme in _OTHER_SCHEMES:
        return scheme, rest
    if colon and scheme in _HOST_SCHEMES:
        if rest.startswith("//"):  # dns://AUTHORITY/HOST:PORT
            rest = rest[2:].partition("/")[2]
        return scheme, rest.removeprefix("/")
    if "://" in address:
        plain = address.partition("://")[2].rstrip("/")
        hint = "; TLS is asked for with credentials=, or --tls" if scheme == "https" else ""
        raise ValueError(f"address {address!r} has a scheme: write {plain}{hint}")
    return "", address


def _host(name: str, address: str) -> str:
    """Return the host of a HOST:PORT.

    Raises:
        ValueError: the host or the port is missing.
    """
    if name.startswith("["):
        host, bracket, port = name[1:].partition("]")
        if not bracket:
            raise ValueError(f"address {address!r} lacks a ]: write [IPV6]:PORT")
        colon, port = port[:1], port[1:]
    else:
        host, colon, port = name.rpartition(":")
        if ":" in host or (_is_ipv6(name) and colon):
            raise ValueError(
                f"address {address!r} has several colons: write an IPv6 address as [IPV6]:PORT"
            )
        if not colon:
            host, port = name, ""
    if not host:
        raise ValueError(f"address {address!r} has no host: write HOST:PORT")
    if not colon or not port:
        shown = f"[{host}]" if ":" in host else host
        raise ValueError(f"address {address!r} has no port: write {shown}:50051")
    if not (port.isascii() and port.isdecimal()) or not 1 <= int(port) <= _MOST_PORT:
        raise ValueError(
            f"address {address!r} has the port {port!r}, not one from 1 to {_MOST_PORT}"
        )
    return host


def _is_ipv6(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).version == 6  # noqa: PLR2004 - the version's own name
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    name = host.lower().removesuffix(".")
    if name in ("localhost", "ip6-localhost") or name.endswith(".localhost"):
        return True
    try:
        found = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None) or found
    return bool(mapped.is_loopback or mapped.is_unspecified)
