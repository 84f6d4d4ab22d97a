"""How the command `semserve` fails, and what only a process of its own can show."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).with_name("semserve")


class TestProblems:
    """One line on standard error that says what to do; 1 for failed calls, 2 for wrong usage."""

    @pytest.mark.parametrize(
        ("arguments", "code", "line"),
        [
            (["embed", "a", "--address", "127.0.0.1:1", "--wait", "0"], 1,
             "nothing answers at 127.0.0.1:1; start the server with make serve"),
            (["embed", "a", "--address", "nowhere.invalid:1"], 1,
             "nothing answers at nowhere.invalid:1; start the server with make serve"),
            (["embed", "a", "--model", "nobody"], 1, "`semserve models` lists the models"),
            # Reading so much takes the server longer than gRPC takes to notice a deadline.
            (["embed", "cat " * 12_000, "--timeout", "0.00001"], 1, "allow more seconds with"),
            (["embed", ""], 1, "texts[0]"),
            (["embed"], 2, "no text: give it as an argument, with --file, or on standard input"),
            (["embed", "--file", "absent"], 2, "absent: No such file or directory"),
            (["embed", "a", "--timeout", "0"], 2, "--timeout"),
            (["embed", "a", "--output", "xml"], 2, "xml"),
            (["embed", "a", "--dimensions", "1.5"], 2, '--dimensions: unable to convert "1.5"'),
            (["compare", "a"], 2, "only one text to compare: a"),
            (["compare", "a", "b", "c"], 2, "3 texts where a pair has two: a | b | c"),
            (["classify"], 2, "no pair: give two texts"),
            (["rank"], 2, "QUERY"),
            (["search", "a"], 2, "--corpus"),
            (["search", "a", "--corpus", os.devnull], 2, "no text in it"),
            (["heatmap", "a", "b", "--to", "map.jpg"], 2, ".png, .svg, .pdf"),
            (["frobnicate"], 2, "frobnicate"),
            (["embed", "a", "--frobnicate"], 2, "--frobnicate"),
        ],
    )  # fmt: skip
    def test_each_is_one_line(self, run, arguments, code, line):
        output = run(*arguments)
        assert (code, "") == (output.code, output.out)
        (only,) = output.err.splitlines()
        assert only.startswith("semserve: ")
        assert line in only

    def test_a_server_that_is_not_ready_is_an_answer_and_a_failure(self, run):
        line = "semserve: nobody is not ready: service unknown\n"
        assert (1, "service unknown\n", line) == run("health", "nobody")

    def test_bytes_that_are_no_text_are_named_by_their_line(self, run):
        output = run("embed", stdin=b"fine\n\xff\n")
        assert (2, "", "semserve: standard input: line 2 is not UTF-8\n") == output


class TestTheProcess:
    """What only a process of its own can show."""

    def environment(self, address: str) -> dict[str, str]:
        return {**os.environ, "SEMSERVE_ADDRESS": address}

    def test_help_imports_nothing_heavy(self):
        code = (
            "import sys, semserve.cli as cli; sys.argv[1:] = ['--help']\n"
            "try: cli.main()\n"
            "finally: print({'grpc', 'numpy', 'matplotlib', 'google.protobuf'} & {*sys.modules})"
        )
        output = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert "set()" == output.stdout.splitlines()[-1]
        groups = [line for line in output.stdout.splitlines() if line.startswith("╭─")]
        titles = [one.split()[1] for one in groups]
        assert ["Commands", "Texts", "Similarity", "Server", "Shell"] == titles

    def test_an_interrupt_leaves_no_trace(self, server_address):
        # Under nohup, and in the background of a script, a suite and its children ignore SIGINT.
        heeding = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); "
        heeding += "os.execv(sys.argv[1], sys.argv[1:])"
        with subprocess.Popen(
            [sys.executable, "-c", heeding, COMMAND, "health", "--watch"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment(server_address),
        ) as process:
            assert process.stdout is not None
            assert "serving\n" == process.stdout.readline()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
        assert (130, "", "") == (process.returncode, out, err)

    def test_a_reader_that_has_seen_enough_gets_no_trace(self, server_address):
        reading, writing = os.pipe()
        os.close(reading)
        output = subprocess.run(
            [COMMAND, "embed", "a", "--output", "json"],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env=self.environment(server_address),
        )
        os.close(writing)
        assert (1, "") == (output.returncode, output.stderr)

    def test_tells_its_version(self):
        output = subprocess.run([COMMAND, "--version"], capture_output=True, text=True, check=True)
        assert ["0", "1", "0"] == output.stdout.strip().split(".")
