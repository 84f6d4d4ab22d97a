"""Which environment variables are the server's, and what is said of those that are not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from semserve_server.config import Config
from semserve_server.system import environment

LISTEN, ADDRESS = "SEMSERVE_LISTEN", "SEMSERVE_ADDRESS"


def told(variables: dict[str, str], **settings: object) -> list[str]:
    environment.adopt(variables)
    return list(environment.warnings(variables, Config(**settings)))  # type: ignore[arg-type]


@pytest.mark.parametrize("variables", [
    {}, {"PATH": "/bin"}, {LISTEN: "127.0.0.1:1"}, {LISTEN: "127.0.0.1:1", ADDRESS: "a:2"},
    {ADDRESS: "somewhere:1"}, {"SEMSERVE_MODELS": "x", "SEMSERVE_MAX_BATCH_TOKENS": "1"},
    {"SEMSERVE_PORT_50051_TCP_ADDR": "10.0.0.1", "SEMSERVE_SERVICE_HOST": "10.0.0.1"},
])  # fmt: skip
def test_nothing_is_said_of_variables_that_mean_what_they_say(variables: dict[str, str]) -> None:
    assert [] == told(variables)


def test_the_clients_address_is_told_where_the_server_listens_there() -> None:
    (line,) = told({ADDRESS: "127.0.0.1:1"}, address="127.0.0.1:1")
    assert line.startswith(f"{ADDRESS} is the client's: set {LISTEN}")


def test_a_clients_key_is_told_where_the_server_wants_none() -> None:
    """One letter apart from the name of the key file: without keys everybody may call."""
    (line,) = told({"SEMSERVE_KEY": "secret"})
    assert "SEMSERVE_KEYS names its key file" in line
    assert "secret" not in line
    assert [] == told({"SEMSERVE_KEY": "secret"}, keys=Path("keys"))


def test_a_variable_that_is_no_setting_is_told_by_its_name() -> None:
    (line,) = told({"SEMSERVE_MAX_BATCHTOKENS": "1"})
    assert line.startswith("SEMSERVE_MAX_BATCHTOKENS is no setting of this server")


@pytest.mark.parametrize(("variables", "arguments", "listens", "warned"), [
    ({LISTEN: "listen"}, (), "listen", False),
    ({ADDRESS: "address"}, (), "address", True),
    ({ADDRESS: "address", LISTEN: "listen"}, (), "listen", False),
    ({ADDRESS: "address", LISTEN: "listen"}, ("--address", "flag"), "flag", False),
    ({ADDRESS: "address"}, ("--address", "flag"), "flag", False),
])  # fmt: skip
def test_the_server_listens_where_its_own_variable_says(
    variables: dict[str, str], arguments: tuple[str, ...], listens: str, *, warned: bool
) -> None:
    """No address of these can be listened on, so that the start ends with the one that it took."""
    said = run("--echo", "4", *arguments, **variables)
    assert f"--address {listens}: give HOST:PORT" in said
    assert warned is (f"WARNING __main__: {ADDRESS} is the client's" in said)


def test_making_a_key_reads_no_environment(tmp_path: Path) -> None:
    said = run(
        "key", SEMSERVE_NAME="alice", SEMSERVE_FILE=str(tmp_path / "keys"), SEMSERVE_CONTROL="true"
    )
    assert "NAME requires an argument" in said
    run("key", "bob", "--file", str(tmp_path / "keys"), SEMSERVE_CONTROL="true", SEMSERVE_ONLY="x")
    name, _digest, *rights = (tmp_path / "keys").read_text().split()
    assert ("bob", ["*", "*"]) == (name, rights)


def run(*arguments: str, **variables: str) -> str:
    """Run the command where it ends by itself; what it says on standard error."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SEMSERVE_")}
    ended = subprocess.run(
        [sys.executable, "-m", "semserve_server", *arguments],
        capture_output=True, text=True, timeout=60, check=False,
        env=clean | {"SEMSERVE_CALIBRATION_CACHE": "none", "COLUMNS": "200"} | variables,
    )  # fmt: skip
    return ended.stderr + ended.stdout
