"""The command `semserve` in what shells, consoles, cron and containers give it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

COMMAND = Path(sys.executable).with_name("semserve")
FULL = Path("/dev/full")
READ_ONLY = Path("/proc")  # nobody can write there, root included
COMPARE = ("compare", "a b", "a c")


@pytest.fixture
def shell(server_address: str, tmp_path: Path) -> Any:
    """Run the command in a process of its own; only what a test gives is in its environment."""

    def shell(
        *arguments: str, redirect: str = "", command: str = str(COMMAND), **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/sh", "-c", f'exec "$0" "$@" {redirect}', *command.split(), *arguments],
            env={"PATH": os.defpath, "SEMSERVE_ADDRESS": server_address, **environment},
            cwd=READ_ONLY if READ_ONLY.is_dir() else tmp_path, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, encoding="utf-8", timeout=60, check=False,
        )  # fmt: skip

    return shell


def answered(said: subprocess.CompletedProcess[str]) -> bool:
    header, row = said.stdout.splitlines()
    return (0, "", ["left", "right", "score"], "a b") == (
        said.returncode, said.stderr, header.split(), row.strip()[:3],
    )  # fmt: skip


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"HOME": "/nonexistent", "TERM": "dumb", "NO_COLOR": "1", "COLUMNS": "0"}
        | {"SEMSERVE_KEY": "", "SEMSERVE_TLS_CA": "", "https_proxy": "http://127.0.0.1:9"},
        {"TERM": "nonsense", "COLUMNS": "nonsense", "LC_ALL": "C", "PYTHONIOENCODING": "ascii"},
    ],
)
def test_answers_in_any_environment(shell, environment):
    assert answered(shell(*COMPARE, **environment))


def test_answers_with_files_closed(shell):
    assert answered(shell(*COMPARE, redirect="<&- 2>&-"))


def test_answers_into_nothing_where_its_output_is_closed(shell):
    """And no library writes into the connection that got the number of the closed file."""
    output = shell(*COMPARE, redirect="<&- >&- 2>&-")
    assert (0, "", "") == (output.returncode, output.stdout, output.stderr)
    assert 1 == shell("health", "nobody", redirect=">&-").returncode


def test_says_that_there_is_no_text_where_its_input_is_closed(shell):
    output = shell("embed", redirect="<&-")
    assert (2, "") == (output.returncode, output.stdout)
    assert output.stderr.startswith("semserve: no text: ")


@pytest.mark.skipif(not FULL.exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize("arguments", [(*COMPARE, "--output", "json"), ("--help",)])
def test_says_that_the_disk_is_full(shell, arguments):
    output = shell(*arguments, redirect=f">{FULL}")
    line = "semserve: standard output: No space left on device\n"
    assert (1, line) == (output.returncode, output.stderr)


@pytest.mark.skipif(not FULL.exists(), reason="the system has no /dev/full")
def test_keeps_its_exit_code_where_nobody_can_be_told(shell):
    assert 2 == shell("compare", "a", redirect=f"2>{FULL}").returncode


def test_draws_without_a_home(shell, tmp_path):
    output = shell("heatmap", "a", "b", "--to", str(tmp_path / "map.png"), HOME="/nonexistent")
    assert (0, "") == (output.returncode, output.stderr)


def test_is_a_module_too(shell):
    assert answered(shell("-m", "semserve", *COMPARE, command=sys.executable))


def test_writes_what_the_encoding_lacks_as_an_escape(shell):
    output = shell("rank", "é", "猫", PYTHONIOENCODING="ascii")
    assert (0, "") == (output.returncode, output.stderr)
    assert r"\u732b" in output.stdout


def test_reads_arguments_as_utf8_whatever_the_locale(shell):
    locale = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    document = json.loads(shell("rank", "é", "猫", "--output", "json", **locale).stdout)
    assert ("é", "猫") == (document["query"], document["hits"][0]["text"])


@pytest.mark.parametrize("columns", ["0", "5"])
def test_keeps_every_digit_on_a_narrow_terminal(run, monkeypatch, columns):
    wide = run("classify", "a", "b").out.split()
    monkeypatch.setenv("COLUMNS", columns)
    assert wide == run("classify", "a", "b").out.split()


def test_goes_on_where_interrupts_are_ignored(server_address):
    """As in the background of a shell, where only the terminal's other programs are interrupted."""
    with subprocess.Popen(
        ["/bin/sh", "-c", 'trap "" INT; exec "$0" health --watch', COMMAND],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"SEMSERVE_ADDRESS": server_address},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert "serving\n" == process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.terminate()
        process.communicate(timeout=30)
    assert -signal.SIGTERM == process.returncode


class TestArguments:
    @pytest.mark.parametrize("text", ["-1 degrees", "-b", "--x", "-"])
    def test_a_text_that_begins_with_a_dash_goes_after_two(self, run, text):
        output = run("embed", "--output", "json", "--", text, stdin=b"piped\n")
        (result,) = output.document["results"]
        assert ("piped" if text == "-" else text) == result["text"]

    @pytest.mark.parametrize("text", ["-1 degrees", "-b", "--x"])
    def test_the_problem_says_so(self, run, text):
        output = run("embed", text)
        assert (2, "") == (output.code, output.out)
        assert output.err.endswith("goes after --, as in: semserve embed -- '-1 degrees'\n")

    def test_a_text_may_begin_with_an_at(self, run):
        (result,) = run("embed", "@somebody", "--output", "json").document["results"]
        assert "@somebody" == result["text"]

    def test_a_switch_may_stand_before_the_command(self, run):
        """The server has no TLS, and the command says so rather than what gRPC says."""
        for arguments in (("--tls", "health"), ("health", "--tls")):
            output = run(*arguments)
            assert (1, "") == (output.code, output.out)
            assert output.err.startswith("semserve: no TLS with 127.0.0.1:")
            assert output.err.endswith("for a server without TLS, omit the --tls flags\n")

    def test_flags_without_a_command_say_so(self, run):
        output = run("--output", "json")
        line = "semserve: no command behind the flags; `semserve --help` lists the commands\n"
        assert (2, line) == (output.code, output.err)

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("--address", "localhost"), "address 'localhost' has no port: write localhost:50051"),
            (("--address", "http://host:1"), "address 'http://host:1' has a scheme: write host:1"),
            (("--key", "a b"), "key has the character ' ' at 1"),
        ],
    )
    def test_an_address_or_a_key_that_cannot_be_used_is_named(self, run, arguments, said):
        failed = run("health", *arguments)
        assert (2, True) == (failed.code, failed.err.startswith(f"semserve: {said}"))

    def test_a_proxy_in_the_way_is_named(self, run, monkeypatch):
        monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
        output = run("health", "--address", "192.0.2.1:50051", "--timeout", "20")
        assert (1, True) == (output.code, "https_proxy is set: unset it" in output.err)

    def test_a_key_keeps_no_line_end_of_its_file(self, run, monkeypatch):
        monkeypatch.setenv("SEMSERVE_KEY", "alice.secret\r\n")
        assert 0 == run("health").code

    def test_a_model_called_load_can_be_asked_for(self, run):
        assert "there is no model 'load'" in run("models", "--name", "load").err
        assert (2, True) == ((output := run("models", "load")).code, "--name" in output.err)


def test_without_its_packages_it_says_what_to_install():
    """The library needs none of them; a process in which they cannot be imported tells."""
    code = (
        "import sys\n"
        "sys.modules['cyclopts'] = sys.modules['rich'] = None\n"
        "import semserve\n"
        "[getattr(semserve, name) for name in semserve.__all__]\n"
        "from semserve.cli import main\n"
        "main(['health'])\n"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
    )
    needs = (
        'semserve: the command needs packages that are not installed: pip install "semserve[cli]"'
    )
    assert (1, "", f"{needs}\n") == (output.returncode, output.stdout, output.stderr)
