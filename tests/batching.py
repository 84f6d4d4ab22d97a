"""Batchers for tests, and what makes their entries wait."""

from __future__ import annotations

import asyncio

from fakes import Held
from semserve_server.runtime.encoding import Encoding
from semserve_server.scheduling.admission import Admission
from semserve_server.scheduling.batcher import Batcher
from semserve_server.scheduling.cost_model import CostModel

NEVER = float("inf")


def encoding(first: int, length: int = 3) -> Encoding:
    return Encoding([first] * length, [0] * length)


def new_admission(workers: int = 1, *, cost: CostModel | None = None) -> Admission:
    return Admission(
        cost=cost or CostModel(),
        workers=workers,
        max_batch_tokens=64,
        max_entries=8,
        max_tokens=10_000,
    )


async def held_behind_a_run(batcher: Batcher, held: Held) -> asyncio.Task[object]:
    """Occupy the worker, so that what is submitted next waits in the queue."""
    held.hold()
    first = asyncio.create_task(batcher.submit([encoding(99)], deadline=NEVER))
    await asyncio.to_thread(held.wait_for_run)
    return first
