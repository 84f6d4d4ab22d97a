"""`semserve bench`: what it counts, and how it fails."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
from echoing import echoing

COMMAND = Path(sys.executable).with_name("semserve")


async def bench(address: str, *arguments: str) -> tuple[int | None, str, str]:
    command = await asyncio.create_subprocess_exec(
        COMMAND, "bench", "--seconds", "0.3", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"SEMSERVE_ADDRESS": address},
    )  # fmt: skip
    out, err = await command.communicate()
    return command.returncode, out.decode(), err.decode()


async def test_it_counts_the_calls_that_the_server_answered():
    arguments = ("--concurrency", "3", "--texts-per-call", "5", "--output", "json")
    async with echoing(dimensions=8) as server:
        code, out, err = await bench(server.address, *arguments)
        answered = server.embedded
    found = json.loads(out)
    calls = found["statuses"]["OK"]
    assert (0, "") == (code, err)
    assert answered == calls + 1  # and the one before the run
    assert ("echo", 3, 5, {"OK": calls}) == (
        found["model"], found["concurrency"], found["texts_per_call"], found["statuses"]
    )  # fmt: skip
    assert found["seconds"] >= 0.3
    assert found["calls_per_second"] == pytest.approx(calls / found["seconds"], rel=0.01)
    assert found["texts_per_second"] == pytest.approx(5 * calls / found["seconds"], rel=0.01)
    assert 0 < found["p50_ms"] <= found["p90_ms"] <= found["p99_ms"] <= 1000 * found["seconds"]


async def test_it_counts_refused_calls_by_their_status_and_does_not_repeat_them(tmp_path):
    """The first text, which the call before the run sends, is valid, and the second is not."""
    texts = tmp_path / "texts.txt"
    texts.write_text("a cat\nbad \x00\n")
    arguments = ("--concurrency", "1", "--file", str(texts), "--output", "json")
    async with echoing(dimensions=8) as server:
        code, out, _ = await bench(server.address, *arguments)
    statuses = json.loads(out)["statuses"]
    assert 0 == code
    assert {"OK", "INVALID_ARGUMENT"} == {*statuses}
    assert 0 <= statuses["OK"] - statuses["INVALID_ARGUMENT"] <= 1


class TestModelsAndProblems:
    SHORT = ("bench", "--seconds", "0.05", "--concurrency", "2")

    def test_a_classifier_of_pairs_is_measured_with_pairs(self, run):
        output = run(*self.SHORT, "--model", "tiny-nli")
        assert (0, "") == (output.code, output.err)
        rows = dict(
            line.strip().split(maxsplit=1)
            for line in output.out.splitlines()
            if "calls" not in line
        )
        assert "tiny-nli" == rows["model"]
        assert {"p50_ms", "p90_ms", "p99_ms", "texts_per_second"} < {*rows}
        assert "calls OK" in output.out

    @pytest.mark.parametrize(
        ("arguments", "code", "line"),
        [
            (["--model", "nobody"], 1, "`semserve models` lists the models"),
            (["--concurrency", "0"], 2, "--concurrency"),
            (["--seconds", "601"], 2, "--seconds"),
            (["--texts-per-call", "257"], 2, "--texts-per-call"),
            (["--file", "absent"], 2, "absent: No such file or directory"),
        ],
    )
    def test_a_problem_is_one_line(self, run, arguments, code, line):
        output = run(*self.SHORT, *arguments)
        assert (code, "") == (output.code, output.out)
        (only,) = output.err.splitlines()
        assert line in only
