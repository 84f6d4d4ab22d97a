"""Streams 100,000 texts with every client whose toolchain is there, and prints a table.

    python -m clients.bench_clients [TEXTS]      with tests on the PYTHONPATH

The server computes nothing (`--echo`): the figures are those of the clients and of gRPC. Client
and server share the CPUs of this machine.
"""

from __future__ import annotations

import subprocess
import sys

import pytest
from clients.case_runners import RUNNERS, Runner
from conftest import running_server

TEXTS = 100_000
DIMENSIONS = 384


def main(count: int) -> int:
    """Print a row for each client; return 1 where one failed."""
    print(f"{'client':8}{'texts':>9}{'texts/s':>10}{'peak MB':>10}")
    failed = 0
    with running_server("--echo", str(DIMENSIONS)) as server:
        for runner in RUNNERS:
            try:
                print(row(runner, server.address, count), flush=True)
            except pytest.skip.Exception as missing:
                print(missing)
            except subprocess.CalledProcessError as error:
                failed = 1
                print(f"{runner.language}: {error.stderr.strip()[-500:]}")
    return failed


def row(runner: Runner, address: str, count: int) -> str:
    """What one client reports, as columns."""
    command = [*runner.ready(), "bench", address, str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    language, texts, _, rate, _, peak, _ = done.stdout.split()
    return f"{language:8}{int(texts):>9,}{int(rate):>10,}{peak:>10}"


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else TEXTS))
