"""Counts and times: as the library of Prometheus would count them, and by the right cause."""

from __future__ import annotations

import asyncio

import pytest
from fakes import Held, Lengths
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client import Histogram as Known
from semserve_server.errors import DeadlineExceeded
from semserve_server.instrumentation.counters import (
    ENTRIES,
    Histogram,
    MethodCounters,
    ModelCounters,
    cancelled_at_deadline,
)
from semserve_server.instrumentation.request_context import CallMetadata, RequestContext
from semserve_server.observability.metric_families import histogram
from semserve_server.runtime.encoding import Encoding
from semserve_server.scheduling.admission import Admission
from semserve_server.scheduling.batch_queue import BatchQueue
from semserve_server.scheduling.batcher import Batcher
from semserve_server.scheduling.cost_model import CostModel
from semserve_server.scheduling.dispatch import Dispatch

NEVER = float("inf")


@given(st.lists(st.sampled_from((*ENTRIES, 0, 3, 1023, 1025, 1e9)), min_size=1, max_size=50))
def test_a_histogram_tells_what_the_librarys_own_would(values: list[float]) -> None:
    registry = CollectorRegistry()
    reference = Known("semserve_values", "Values.", ("model",), buckets=ENTRIES, registry=registry)
    actual = Histogram(ENTRIES)
    for value in values:
        reference.labels("one").observe(value)
        actual.observe(value)
    (metric,) = registry.collect()
    expected = [sample for sample in metric.samples if not sample.name.endswith("_created")]
    assert expected == histogram("values", "Values.", ("model",), {("one",): actual}).samples


@pytest.mark.parametrize(
    ("elapsed", "remaining", "wanted"),
    [(1, 0, True), (0.95, 0.05, True), (0.5, 0.5, False), (5, NEVER, False), (2, -1, True)],
)
def test_who_leaves_at_the_end_of_its_time_leaves_for_its_deadline(
    elapsed: float,
    remaining: float,
    wanted: bool,  # noqa: FBT001  (a table)
) -> None:
    assert wanted is cancelled_at_deadline(elapsed=elapsed, remaining=remaining)


@pytest.mark.parametrize(
    ("remaining", "code"), [(0.0, "DEADLINE_EXCEEDED"), (60.0, "CANCELLED"), (None, "CANCELLED")]
)
def test_a_call_that_was_cut_off_has_the_code_that_its_caller_sees(
    remaining: float | None, code: str
) -> None:
    ended: list[RequestContext] = []
    method = MethodCounters("service", "Method", streaming=False)
    with (
        pytest.raises(asyncio.CancelledError),
        RequestContext(method, CallMetadata(()), lambda: remaining, ended.append),
    ):
        raise asyncio.CancelledError
    assert [code] == [one.code for one in ended]


async def test_entries_that_never_run_are_counted_by_cause() -> None:
    held, counters, now = Held(Lengths()), ModelCounters("test"), [0.0]
    admission = Admission(
        cost=CostModel(), workers=1, max_batch_tokens=64, max_entries=8, max_tokens=100
    )
    queue = BatchQueue(max_batch_tokens=64, cost=CostModel())
    runs = Dispatch(cost=CostModel(), max_batch_tokens=64, exclusive=False)
    batcher = Batcher(held, queue, admission, runs, counters=counters, clock=lambda: now[0])

    def submit(deadline: float) -> asyncio.Task[object]:
        encodings = [Encoding([1], [0])] * 2
        return asyncio.create_task(batcher.submit(encodings, deadline=deadline))

    held.hold()
    first = submit(NEVER)
    await asyncio.to_thread(held.wait_for_run)
    expires, leaves, leaves_late = submit(10), submit(NEVER), submit(20)
    while batcher.waiting.entries < 6:
        await asyncio.to_thread(lambda: None)
    leaves.cancel()
    await asyncio.wait([leaves])
    assert {"expired": 0, "cancelled": 2, "failed": 0} == counters.dropped
    now[0] = 19
    leaves_late.cancel()
    await asyncio.wait([leaves_late])
    assert {"expired": 2, "cancelled": 2, "failed": 0} == counters.dropped
    held.release()
    await first
    with pytest.raises(DeadlineExceeded):
        await expires
    assert {"expired": 4, "cancelled": 2, "failed": 0} == counters.dropped
    assert (2, 2) == (counters.tokens, counters.padded_tokens)
    batcher.close()
