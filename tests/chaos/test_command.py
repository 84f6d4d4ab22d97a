"""The command of the long forms, in its shortest form."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from conftest import ROOT


def test_the_command_writes_each_figure_as_a_line(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "chaos", "--only", "fuzz", "--examples", "10",
         "--results", tmp_path],
        cwd=ROOT / "tests", capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert 0 == ran.returncode, ran.stdout + ran.stderr
    lines = (tmp_path / "chaos.jsonl").read_text().splitlines()
    assert lines == ran.stdout.splitlines()[:-1]
    assert {"fuzz"} == {json.loads(line)["part"] for line in lines}
    assert "0 promises broken" == ran.stdout.splitlines()[-1]
