"""What the tests of the batcher share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from batching import new_admission
from semserve_server.instrumentation.counters import ModelCounters
from semserve_server.runtime.runner import Runner
from semserve_server.scheduling.admission import Admission
from semserve_server.scheduling.batch_queue import BatchQueue
from semserve_server.scheduling.batcher import Batcher
from semserve_server.scheduling.cost_model import CostModel
from semserve_server.scheduling.dispatch import Dispatch


@pytest.fixture
async def make() -> AsyncIterator[Callable[[Runner], Batcher]]:
    made: list[Batcher] = []

    def one(
        runner: Runner,
        *,
        workers: int = 1,
        cost: CostModel | None = None,
        admission: Admission | None = None,
        **extra: Any,
    ) -> Batcher:
        queue = BatchQueue(max_batch_tokens=64, cost=CostModel())
        runs = Dispatch(cost=cost or CostModel(), max_batch_tokens=64, exclusive=cost is not None)
        admission = admission or new_admission(workers)
        made.append(
            Batcher(runner, queue, admission, runs, counters=ModelCounters("test"), **extra)
        )
        return made[-1]

    yield one
    for batcher in made:
        batcher.close()
