"""The storm: very many requests under everything that callers do, every answer checked."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from chaos.answers import Answers, compute
from chaos.client import Task, drive
from chaos.server import Server
from chaos.tally import Tally

PROCESSES = 2
CALLERS = 24
"""Callers at once in each client process."""
MOST_GROWTH = 0.05
"""ModelShare by which resident memory may grow after the first round."""


@dataclass(frozen=True, slots=True)
class Round:
    """A part of the storm, and the server's memory after it."""

    number: int
    seconds: float
    resident_bytes: int
    tally: Tally

    def record(self) -> dict[str, object]:
        """Return the round as a line of the results."""
        return {
            "part": "storm",
            "round": self.number,
            "seconds": round(self.seconds, 1),
            "resident_megabytes": round(self.resident_bytes / 1e6, 1),
            "sent": self.tally.sent,
            "faults": self.tally.faults,
            "fates": dict(self.tally.fates),
            "ways": dict(self.tally.ways),
            "samples": self.tally.samples,
        }


def blow(server: Server, models: Path, *, requests: int, rounds: int, seed: int) -> Iterator[Round]:
    """Send `requests` requests in so many rounds, and yield each round as it ends."""
    answers = compute(models, count=1000 if rounds > 1 else 100, seed=seed)
    spawn = multiprocessing.get_context("spawn")
    # Forking a process that uses gRPC would copy its threads' locks without its threads.
    with ProcessPoolExecutor(PROCESSES, mp_context=spawn) as clients:
        for number in range(rounds):
            started = time.perf_counter()
            victim = spawn.Process(target=drive, args=(_task(server, answers, requests, seed),))
            victim.start()
            tally = Tally()
            tasks = [
                _task(server, answers, requests // rounds // PROCESSES, seed + number * 100 + one)
                for one in range(PROCESSES)
            ]
            for reported in clients.map(drive, tasks):
                tally.merge(reported)
                victim.kill()
            victim.join()
            seconds = time.perf_counter() - started
            yield Round(number, seconds, server.process.resident_bytes(), tally)


def _task(server: Server, answers: Answers, requests: int, seed: int) -> Task:
    return Task(server.address, answers, requests, CALLERS, seed)


def growth(rounds: list[Round]) -> float:
    """Return by which share resident memory has grown since the first round, at its most."""
    first = rounds[0].resident_bytes
    return max(one.resident_bytes for one in rounds) / first - 1
