"""Which environment variables and flags the server reads, and what it warns of."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from semserve_server.config import Config
from semserve_server.system import environment

LISTEN, ADDRESS = "SEMSERVE_LISTEN", "SEMSERVE_ADDRESS"


def warned(variables: dict[str, str], **settings: object) -> list[str]:
    environment.adopt(variables)
    return list(environment.warnings(variables, Config(**settings)))  # type: ignore[arg-type]


@pytest.mark.parametrize("variables", [
    {}, {"PATH": "/bin"}, {LISTEN: "127.0.0.1:1"}, {LISTEN: "127.0.0.1:1", ADDRESS: "a:2"},
    {ADDRESS: "somewhere:1"}, {"SEMSERVE_MODELS": "x", "SEMSERVE_MAX_BATCH_TOKENS": "1"},
    {"SEMSERVE_PORT_50051_TCP_ADDR": "10.0.0.1", "SEMSERVE_SERVICE_HOST": "10.0.0.1"},
])  # fmt: skip
def test_variables_that_the_server_knows_give_no_warning(variables: dict[str, str]) -> None:
    assert [] == warned(variables)


def test_a_server_that_listens_at_the_clients_address_warns() -> None:
    (line,) = warned({ADDRESS: "127.0.0.1:1"}, address="127.0.0.1:1")
    assert line.startswith(f"{ADDRESS} is the client's: set {LISTEN}")


def test_a_clients_key_gives_a_warning_if_the_server_has_no_key_file() -> None:
    """The user of an ignored variable may believe that the server checks keys."""
    (line,) = warned({"SEMSERVE_KEY": "secret"})
    assert "set SEMSERVE_API_KEY_FILE" in line
    assert "secret" not in line
    assert [] == warned({"SEMSERVE_KEY": "secret"}, api_key_file=Path("keys"))


def test_a_variable_that_is_not_a_setting_is_named() -> None:
    (line,) = warned({"SEMSERVE_MAX_BATCHTOKENS": "1"})
    assert line.startswith("SEMSERVE_MAX_BATCHTOKENS is not a setting of this server")


@pytest.mark.parametrize(("old", "new"), environment.RENAMED.items())
def test_a_renamed_setting_keeps_its_old_names_with_one_warning(old: str, new: str) -> None:
    name = {word: f"SEMSERVE_{word.replace('-', '_').upper()}" for word in (old, new)}
    variables = {name[old]: "1"}
    (line,) = warned(variables)
    assert f"{name[old]} is now {name[new]}; the next release removes the old name" == line
    assert "1" == variables[name[new]]
    for form in (f"--{old}", f"--{old}=1", f"--no-{old}"):
        present = form.replace(old, new)
        assert [present, "1"] == environment.present_names([form, "1"])
        (line,) = environment.renamed_flags([form])
        flag, present = form.partition("=")[0], present.partition("=")[0]
        assert f"{flag} is now {present}; the next release removes the old name" == line


def test_no_renamed_flag_is_a_flag_or_in_the_help() -> None:
    flags = {field.name.replace("_", "-") for field in fields(Config)}
    assert set() == flags & environment.RENAMED.keys()
    assert flags >= {*environment.RENAMED.values()}


def test_the_present_name_of_a_variable_wins() -> None:
    variables = {"SEMSERVE_LANES": "1", "SEMSERVE_BATCH_WORKERS": "2"}
    assert 1 == len(warned(variables))
    assert "2" == variables["SEMSERVE_BATCH_WORKERS"]


def test_the_command_takes_old_flags_and_logs_the_new_name() -> None:
    """The start ends with an error that shows the value, so that the process ends by itself."""
    output = run("--echo", "4", "--lanes", "2", "--keys=absent", SEMSERVE_OPEN_HEALTH="false")
    assert "--lanes is now --batch-workers" in output
    assert "--keys is now --api-key-file" in output
    assert "SEMSERVE_OPEN_HEALTH is now SEMSERVE_AUTH_EXEMPT_HEALTH" in output
    assert "--api-key-file absent: No such file" in output


def test_the_command_key_takes_its_old_flags(tmp_path: Path) -> None:
    output = run("key", "bob", "--file", str(tmp_path / "keys"), "--only", "nli", "--control")
    assert "semserve-server: --only is now --model" in output
    assert "semserve-server: --control is now --model-control" in output
    name, _digest, *rights = (tmp_path / "keys").read_text().split()
    assert ("bob", ["nli", "*", "control"]) == (name, rights)


@pytest.mark.parametrize(("variables", "arguments", "listens", "warns"), [
    ({LISTEN: "listen"}, (), "listen", False),
    ({ADDRESS: "address"}, (), "address", True),
    ({ADDRESS: "address", LISTEN: "listen"}, (), "listen", False),
    ({ADDRESS: "address", LISTEN: "listen"}, ("--address", "flag"), "flag", False),
    ({ADDRESS: "address"}, ("--address", "flag"), "flag", False),
])  # fmt: skip
def test_the_server_listens_at_the_address_of_its_own_variable(
    variables: dict[str, str], arguments: tuple[str, ...], listens: str, *, warns: bool
) -> None:
    """None of these is an address, so the start ends with an error that names the one it took."""
    output = run("--echo", "4", *arguments, **variables)
    assert f"--address {listens}: give HOST:PORT" in output
    assert warns is (f"WARNING __main__: {ADDRESS} is the client's" in output)


def test_making_a_key_reads_no_environment(tmp_path: Path) -> None:
    output = run(
        "key", SEMSERVE_NAME="alice", SEMSERVE_FILE=str(tmp_path / "keys"), SEMSERVE_CONTROL="true"
    )
    assert "NAME requires an argument" in output
    run(
        "key", "bob", "--file", str(tmp_path / "keys"),
        SEMSERVE_MODEL_CONTROL="true", SEMSERVE_MODEL="x",
    )  # fmt: skip
    name, _digest, *rights = (tmp_path / "keys").read_text().split()
    assert ("bob", ["*", "*"]) == (name, rights)


def run(*arguments: str, **variables: str) -> str:
    """Run the command, which must end by itself; return what it prints."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SEMSERVE_")}
    ended = subprocess.run(
        [sys.executable, "-m", "semserve_server", *arguments],
        capture_output=True, text=True, timeout=60, check=False,
        env=clean | {"SEMSERVE_CALIBRATION_CACHE": "none", "COLUMNS": "200"} | variables,
    )  # fmt: skip
    return ended.stderr + ended.stdout
