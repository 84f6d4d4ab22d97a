"""The server's environment variables: those that changed their names, and those that mean nothing.

Every flag has one, `SEMSERVE_` and its name, but for `--address`: `SEMSERVE_ADDRESS` says where the
client connects, so the server listens where `SEMSERVE_LISTEN` says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import fields

from semserve_server.config import Config

PREFIX = "SEMSERVE_"
LISTEN = "SEMSERVE_LISTEN"
ADDRESS = "SEMSERVE_ADDRESS"
KEY = "SEMSERVE_KEY"
CLIENTS = frozenset({ADDRESS, KEY, "SEMSERVE_TLS_CA"})
"""Variables of the client alone; a machine may have both."""

KUBERNETES = ("SEMSERVE_SERVICE_", "SEMSERVE_PORT")
"""How the variables begin that Kubernetes sets for a Service of the name semserve."""


def adopt(environment: MutableMapping[str, str]) -> None:
    """Leave to the server what is the server's: where both addresses are set, its own."""
    if LISTEN in environment:
        environment.pop(ADDRESS, None)


def warnings(environment: Mapping[str, str], config: Config) -> Iterator[str]:
    """Yield a line for each variable that may not mean what its author thinks.

    Args:
        environment: after `adopt`.
        config: what came of it and of the flags.
    """
    if environment.get(ADDRESS) == config.address:
        yield f"{ADDRESS} is the client's: set {LISTEN}; the next release listens there alone"
    if KEY in environment and config.keys is None:
        yield f"{KEY} is the client's key, and this server wants none: {KEY}S names its key file"
    known = {f"{PREFIX}{field.name.upper()}" for field in fields(Config)} | CLIENTS | {LISTEN}
    for name in sorted(environment):
        if name in known or name.startswith(KUBERNETES):
            continue
        if name.startswith(PREFIX):
            yield f"{name} is no setting of this server and is ignored; see --help"
