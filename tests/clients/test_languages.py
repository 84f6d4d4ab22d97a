"""Each client's own tests pass, its sample runs as its README says, and so do README's programs.

A client whose toolchain is missing is skipped by name.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from clients.case_runners import RUNNERS, Runner

DEFAULT_ADDRESS = "127.0.0.1:50051"

pytestmark = [pytest.mark.timeout(900), pytest.mark.xdist_group("cases")]


def languages(field: str) -> pytest.MarkDecorator:
    """The clients that have something of their own."""
    having = [runner for runner in RUNNERS if getattr(runner, field)]
    return pytest.mark.parametrize("runner", having, ids=lambda runner: runner.language)


@languages("tests")
def test_the_clients_own_tests_pass(runner: Runner) -> None:
    runner.ready()
    run([*runner.tests], runner.folder)


@languages("sample")
def test_the_sample_prints_its_line(runner: Runner, server_address: str) -> None:
    runner.ready()
    *_, line = run([*runner.sample, server_address], runner.folder).splitlines()
    assert re.fullmatch(rf"{runner.language} ok 16 0\.\d{{4}} neutral", line)


@pytest.mark.slow  # the real models take a while to load; `make test-clients` runs it
@languages("sample")
def test_the_sample_knows_the_two_cats_by_the_real_models(
    runner: Runner, real_address: str
) -> None:
    runner.ready()
    *_, line = run([*runner.sample, real_address], runner.folder).splitlines()
    assert f"{runner.language} ok 384 0.9718 contradiction" == line


@languages("program")
def test_every_program_of_the_readme_runs(runner: Runner, server_address: str) -> None:
    assert runner.program is not None
    runner.ready()
    fence, suffix, folder, command = runner.program
    readme = (runner.folder / "README.md").read_text(encoding="utf-8")
    programs = re.findall(rf"^```{fence}\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    assert len(programs) >= 3
    for number, program in enumerate(programs):
        file = folder / f"readme{number}{suffix}"
        file.write_text(program.replace(DEFAULT_ADDRESS, server_address), encoding="utf-8")
        run([*command, str(file)], folder)


def run(command: list[str], folder: Path) -> str:
    """Run a command, which has to end well, and give back what it printed."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"{' '.join(command)}:\n{done.stdout[-5000:]}{done.stderr[-5000:]}")
    return done.stdout
