"""Environment variables and flags that were renamed, and variables that this server does not know.

The variable of a flag is `SEMSERVE_` and the flag's name. The exception is `--address`: its
variable is `SEMSERVE_LISTEN`, because `SEMSERVE_ADDRESS` is where the client connects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import fields

from semserve_server.config import Config

PREFIX = "SEMSERVE_"
LISTEN = "SEMSERVE_LISTEN"
ADDRESS = "SEMSERVE_ADDRESS"
KEY = "SEMSERVE_KEY"
KEY_FILE = "SEMSERVE_API_KEY_FILE"
CLIENTS = frozenset({ADDRESS, KEY, "SEMSERVE_TLS_CA"})
"""Variables that only the client reads. A machine may run both."""

KUBERNETES = ("SEMSERVE_SERVICE_", "SEMSERVE_PORT")
"""Prefixes of the variables that Kubernetes sets for a Service named semserve."""

RENAMED = {
    "lanes": "batch-workers",
    "threads": "intra-op-threads",
    "keys": "api-key-file",
    "open-health": "auth-exempt-health",
    "open-reflection": "auth-exempt-reflection",
    "max-connection-grace": "max-connection-age-grace",
    "trace-fraction": "trace-sample-ratio",
}
"""Flags that have a new name, without their dashes. The next release removes the old names."""
KEY_COMMAND = "key"
RENAMED_OF_KEY = {"only": "model", "control": "model-control"}
"""The same for the flags of `semserve-server key`."""


def adopt(environment: MutableMapping[str, str]) -> None:
    """Give the variables their present names, and drop the client's address if the server has one.

    A variable that has its present name already keeps its value.
    """
    if LISTEN in environment:
        environment.pop(ADDRESS, None)
    for old, new in RENAMED.items():
        if _variable(old) in environment:
            environment.setdefault(_variable(new), environment[_variable(old)])


def present_names(arguments: Sequence[str]) -> list[str]:
    """Return the command line with the present names of renamed flags."""
    return [_renamed(argument, _table(arguments))[1] for argument in arguments]


def renamed_flags(arguments: Sequence[str]) -> Iterator[str]:
    """Yield a warning for each flag of the command line that was renamed."""
    for argument in arguments:
        old, new = (one.partition("=")[0] for one in _renamed(argument, _table(arguments)))
        if old != new:
            yield f"{old} is now {new}; the next release removes the old name"


def warnings(environment: Mapping[str, str], config: Config) -> Iterator[str]:
    """Yield a warning for each variable that may not do what its author expects.

    Args:
        environment: after `adopt`.
        config: the settings that were made from it and from the flags.
    """
    if environment.get(ADDRESS) == config.address:
        yield f"{ADDRESS} is the client's: set {LISTEN}; the next release reads {LISTEN} alone"
    if KEY in environment and config.api_key_file is None:
        yield f"{KEY} is a client's key, and this server has no key file: set {KEY_FILE}"
    renamed = {_variable(old): _variable(new) for old, new in RENAMED.items()}
    known = {_variable(field.name) for field in fields(Config)} | CLIENTS | {LISTEN}
    for name in sorted(environment):
        if name in renamed:
            yield f"{name} is now {renamed[name]}; the next release removes the old name"
        elif name.startswith(PREFIX) and name not in known and not name.startswith(KUBERNETES):
            yield f"{name} is not a setting of this server and is ignored; see --help"


def _variable(flag: str) -> str:
    return f"{PREFIX}{flag.replace('-', '_').upper()}"


def _table(arguments: Sequence[str]) -> Mapping[str, str]:
    return RENAMED_OF_KEY if arguments[:1] == [KEY_COMMAND] else RENAMED


def _renamed(argument: str, table: Mapping[str, str]) -> tuple[str, str]:
    """Return an argument as it is, and with the flag's present name if the flag was renamed."""
    flag, equals, value = argument.partition("=")
    for dashes in ("--no-", "--"):
        new = table.get(flag.removeprefix(dashes)) if flag.startswith(dashes) else None
        if new is not None:
            return argument, f"{dashes}{new}{equals}{value}"
    return argument, argument
