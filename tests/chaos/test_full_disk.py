"""A disk that is full when the server starts; reloading and exporting onto one have their tests."""

from __future__ import annotations

import subprocess
import sys

from chaos.server import TINY

BLOCKS = "32"
"""Most blocks of a file, of 512 bytes each: too few for the copy that a graph is loaded from."""


def test_a_start_on_a_full_disk_is_one_line_and_exit_code_2() -> None:
    command = [sys.executable, "-m", "semserve_server", "--address", "127.0.0.1:0"]
    ended = subprocess.run(
        ["sh", "-c", f'ulimit -f {BLOCKS} && exec "$@"', "sh", *command, "--models", TINY],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert 2 == ended.returncode, ended.stderr
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("semserve-server: ")]
    assert "File too large" in line
    assert "Traceback" not in ended.stderr
