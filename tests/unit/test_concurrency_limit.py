"""ConcurrencyLimit: what runs beside what, whatever the order in which workers come and go."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from semserve_server.scheduling.concurrency_limit import ConcurrencyLimit, ModelShare

WAIT = 30.0


class BatchWorker(threading.Thread):
    """A worker that wants to run until it is told that its work has ended."""

    def __init__(self, share: ModelShare) -> None:
        super().__init__(daemon=True)
        self.share = share
        self.began = threading.Event()
        self.alone: bool | None = None
        self.start()

    def run(self) -> None:
        self.alone = self.share.begin()
        self.began.set()


def test_a_model_of_which_nothing_runs_never_waits() -> None:
    limit = ConcurrencyLimit(2)
    flooded, other = limit.share(), limit.share()
    assert flooded.begin()
    assert not flooded.begin()
    assert not other.begin()


def test_a_model_that_is_alone_has_every_run() -> None:
    limit = ConcurrencyLimit(3)
    one = limit.share()
    assert [True, False, False] == [one.begin() for _ in range(3)]
    assert "<ConcurrencyLimit 3 of 3 runs, 0 wait>" == repr(limit)


def test_the_model_with_fewer_runs_is_next() -> None:
    limit = ConcurrencyLimit(4)
    flooded, other = limit.share(), limit.share()
    for _ in range(4):
        flooded.begin()
    other.begin()
    waiting = [BatchWorker(flooded), BatchWorker(other)]
    until_waiting(limit, 2)
    flooded.end()
    flooded.end()
    assert waiting[1].began.wait(WAIT)
    assert not waiting[0].began.is_set()
    assert (2, 2) == (flooded.running, other.running)
    flooded.end()
    assert waiting[0].began.wait(WAIT)


def until_waiting(limit: ConcurrencyLimit, workers: int) -> None:
    """Wait until so many workers wait for their turn."""
    pause = threading.Event()
    while workers != len(limit.waiting):
        pause.wait(0.001)


class ConcurrencyLimitStates(RuleBasedStateMachine):
    """Workers of three models that begin and end; each that may begin has begun."""

    RUNS = 4

    def __init__(self) -> None:
        super().__init__()
        self.limit = ConcurrencyLimit(self.RUNS)
        self.models = [self.limit.share() for _ in range(3)]
        self.running: list[ModelShare] = []
        self.waiting: list[BatchWorker] = []

    @rule(model=st.integers(0, 2))
    def begin(self, model: int) -> None:
        share = self.models[model]
        if self.limit.may_begin(share):
            share.begin()
            self.running.append(share)
        elif len(self.waiting) < 6:
            self.waiting.append(BatchWorker(share))
            until_waiting(self.limit, len(self.waiting))

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        share = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        share.end()
        self.settle()

    def settle(self) -> None:
        """Wait for the workers whose turn it has become."""
        moment = threading.Event()
        while True:
            waiting = [worker for worker in self.waiting if not worker.began.is_set()]
            settled = len(self.limit.waiting) == len(waiting)
            if settled and not any(self.limit.may_begin(worker.share) for worker in waiting):
                break
            moment.wait(0.001)
        for worker in [worker for worker in self.waiting if worker.began.is_set()]:
            self.waiting.remove(worker)
            self.running.append(worker.share)

    @invariant()
    def nobody_waits_in_vain(self) -> None:
        for worker in self.waiting:
            assert worker.share.running >= 1
            assert sum(share.running for share in self.models) >= self.RUNS

    @invariant()
    def there_is_at_most_one_run_too_many_for_each_other_model(self) -> None:
        assert sum(share.running for share in self.models) <= self.RUNS + len(self.models) - 1

    def teardown(self) -> None:
        while self.running:
            self.running.pop().end()
            self.settle()


@given(st.integers(1, 8), st.integers(1, 4))
def test_models_that_are_never_out_of_work_share_alike(runs: int, models: int) -> None:
    """One of them has taken every run before the others come."""
    limit = ConcurrencyLimit(runs)
    each = [limit.share() for _ in range(models)]
    for _ in range(runs):
        each[0].begin()
    limit.waiting = list(each)
    for _ in range(2 * runs + models):
        for share in sorted(each, key=ModelShare.order):
            if limit.may_begin(share):
                share.begin()
        max(each, key=lambda share: share.running).end()
    for share in sorted(each, key=ModelShare.order):
        if limit.may_begin(share):
            share.begin()
    assert min(share.running for share in each) >= max(runs // models, 1)


TestConcurrencyLimitStates = ConcurrencyLimitStates.TestCase
