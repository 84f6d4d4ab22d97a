"""The command `semserve` while its server starts, and how its list of models fits a terminal."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import running_server

COMMAND = Path(sys.executable).with_name("semserve")
LONG_NAMES = ("siamese-manhattan-large-v2", "minilm-l6-v2-pooled")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_a_command_waits_for_a_server_that_is_started_after_it(tiny_models: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    arguments = ["--address", address, "--wait", "60", "models", "--output", "json"]
    with subprocess.Popen(
        [COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as command:
        assert command.stderr is not None
        line = command.stderr.readline()
        assert f"semserve: waiting up to 60 s for the server at {address}\n" == line
        with running_server("--models", str(tiny_models), "--address", address):
            out, rest = command.communicate(timeout=60)
    assert (0, "") == (command.returncode, rest)
    assert ["tiny-embed", "tiny-nli"] == [model["name"] for model in json.loads(out)]


@pytest.mark.parametrize("arguments", [("models", "--wait", "0"), ("health",)])
def test_a_command_that_does_not_wait_fails_in_one_line(command, arguments) -> None:
    output = command(*arguments, "--address", f"127.0.0.1:{free_port()}")
    assert (1, "") == (output.code, output.out)
    (line,) = output.err.splitlines()
    assert line.startswith("semserve: nothing answers at 127.0.0.1:")


def test_a_server_without_models_is_not_waited_for(command, tmp_path, tiny_models) -> None:
    """It is NOT_SERVING, and still answers what it has, so nothing is printed about waiting."""
    shutil.copytree(tiny_models / "tiny-embed", tmp_path / "tiny-embed")
    with running_server("--models", str(tmp_path), "--allow-model-control") as server:
        at = ("--address", server.address, "--wait", "60")
        assert 0 == command("models", "unload", "tiny-embed", *at).code
        assert (0, "") == command("models", *at)[::2]


def test_the_list_of_models_fits_80_columns_and_cuts_no_name(
    command, tmp_path, tiny_models, monkeypatch
) -> None:
    for name, bundle in zip(LONG_NAMES, ("tiny-embed", "tiny-nli"), strict=True):
        shutil.copytree(tiny_models / bundle, tmp_path / name)
        manifest = tmp_path / name / "bundle.json"
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"model": name}))
    monkeypatch.setenv("COLUMNS", "80")
    with running_server("--models", str(tmp_path)) as server:
        listed = command("models", "--address", server.address).out
    assert 80 >= max(map(len, listed.rstrip().splitlines()))
    words = re.split(r"\s+", listed)
    assert {*LONG_NAMES, "embedding", "classification", "labels"} <= {*words}


def test_help_names_the_seconds_that_a_command_waits() -> None:
    shown = subprocess.run(
        [COMMAND, "models", "--help"],
        env=os.environ | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "Seconds to wait for a server that is starting: 10 by default" in shown
