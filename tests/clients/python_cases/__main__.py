"""Runs the table of cases with the Python client; CASES.md describes both.

python -m clients.python_cases CASES.JSON NAME=HOST:PORT …      with tests/ on the PYTHONPATH
python -m clients.python_cases bench HOST:PORT TEXTS
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from clients.python_cases.runner import Runner
from semserve import AsyncClient


def main(arguments: list[str]) -> int:
    """Run every case, or the benchmark; return the exit code."""
    if arguments[0] == "bench":
        asyncio.run(_bench(arguments[1], int(arguments[2])))
        return 0
    table = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    servers = dict(argument.split("=", 1) for argument in arguments[1:])
    failures = 0
    for case in table["cases"]:
        try:
            asyncio.run(Runner(case, servers, table["tolerance"]).run())
        except Exception as failure:  # noqa: BLE001 - whatever it is, the case has failed
            failures += 1
            reason = f"{type(failure).__name__}: {failure}".replace("\n", " ")
            print(f"FAILED {case['name']}: {reason}", flush=True)
        else:
            print(f"ok {case['name']}", flush=True)
    return int(failures > 0)


async def _bench(address: str, count: int) -> None:
    batches = ([f"text {start + place}" for place in range(32)] for start in range(0, count, 32))
    started, answered = time.perf_counter(), 0
    async with AsyncClient(address) as client:
        async for answer in client.stream_embed(batches, encoding="float32"):
            if answer.error is not None:
                raise answer.error
            answered += len(answer.result.vectors)
    rate = answered / (time.perf_counter() - started)
    print(f"Python {answered} texts {rate:.0f} texts/s {_peak()} MB")


def _peak() -> int:
    """The most memory that this process had, in MB."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
