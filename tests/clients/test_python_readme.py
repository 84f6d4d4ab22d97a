"""The examples of the Python client's README run as they stand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from conftest import ROOT
from semserve.cli import main

pytestmark = pytest.mark.xdist_group("kinds")
README = ROOT / "clients" / "python" / "README.md"
DEFAULT_ADDRESS = "127.0.0.1:50051"


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language, in their order."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)
    return [code for named, code in fenced if named == language]


CLIENT_ALONE = [code for code in blocks("python") if "semserve.integrations" not in code]
"""The others need libraries: tests/integrations runs them."""


@pytest.mark.parametrize("code", CLIENT_ALONE)
def test_the_python_examples_run(code, kinds_address, monkeypatch, capsys):
    monkeypatch.setenv("SEMSERVE_ADDRESS", kinds_address)
    exec(compile(code.replace(DEFAULT_ADDRESS, kinds_address), README, "exec"), {})  # noqa: S102
    printed = capsys.readouterr()
    assert printed.out
    assert "" == printed.err


def test_what_an_example_says_it_prints_it_prints(kinds_address, monkeypatch, capsys):
    monkeypatch.setenv("SEMSERVE_ADDRESS", kinds_address)
    (code,) = (one for one in blocks("python") if "InvalidRequest" in one)
    output = re.findall(r"print\(.*\)  # ([\[{].*[\]}])", code)
    exec(compile(code, README, "exec"), {})  # noqa: S102
    assert [*output] == capsys.readouterr().out.splitlines()[: len(output)]
    assert output


def test_the_commands_run(kinds_address, tmp_path, monkeypatch, capsys):
    """All but those that need a pipe, or never end."""
    monkeypatch.setenv("SEMSERVE_ADDRESS", kinds_address)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    Path("sentences.txt").write_text("a bed\nthe sea\na warm room\n")
    Path("pairs.csv").write_text("premise,hypothesis\nit rains,it is wet\n")
    commands = [
        line
        for line in "\n".join(blocks("")).splitlines()
        if line.startswith("semserve ") and "--watch" not in line
    ]
    assert len(commands) > 5
    for line in commands:
        with pytest.raises(SystemExit, match="0"):
            main(shlex.split(line)[1:])
        assert "" == capsys.readouterr().err
    assert Path("map.png").is_file()
