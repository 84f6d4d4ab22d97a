"""ConcurrencyLimit: what runs beside what, whatever the order in which lanes come and go."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from semserve_server.scheduling.concurrency_limit import ConcurrencyLimit, ModelShare

WAIT = 30.0


class BatchWorker(threading.Thread):
    """A lane that wants to run until it is told that its work has ended."""

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
    shares = ConcurrencyLimit(2)
    flooded, other = shares.share(), shares.share()
    assert flooded.begin()
    assert not flooded.begin()
    assert not other.begin()


def test_a_model_that_is_alone_has_every_run() -> None:
    shares = ConcurrencyLimit(3)
    one = shares.share()
    assert [True, False, False] == [one.begin() for _ in range(3)]
    assert "<ConcurrencyLimit 3 of 3 runs, 0 wait>" == repr(shares)


def test_the_model_with_fewer_runs_is_next() -> None:
    shares = ConcurrencyLimit(4)
    flooded, other = shares.share(), shares.share()
    for _ in range(4):
        flooded.begin()
    other.begin()
    waiting = [BatchWorker(flooded), BatchWorker(other)]
    until_waiting(shares, 2)
    flooded.end()
    flooded.end()
    assert waiting[1].began.wait(WAIT)
    assert not waiting[0].began.is_set()
    assert (2, 2) == (flooded.going, other.going)
    flooded.end()
    assert waiting[0].began.wait(WAIT)


def until_waiting(shares: ConcurrencyLimit, lanes: int) -> None:
    """Wait until so many lanes wait for their turn."""
    asked = threading.Event()
    while f" {lanes} wait>" not in repr(shares):
        asked.wait(0.001)


class Dispatch(RuleBasedStateMachine):
    """Lanes of three models that begin and end; each that may begin has begun."""

    RUNS = 4

    def __init__(self) -> None:
        super().__init__()
        self.shares = ConcurrencyLimit(self.RUNS)
        self.models = [self.shares.share() for _ in range(3)]
        self.going: list[ModelShare] = []
        self.waiting: list[BatchWorker] = []

    @rule(model=st.integers(0, 2))
    def begin(self, model: int) -> None:
        share = self.models[model]
        if self.shares._may_begin(share):
            share.begin()
            self.going.append(share)
        elif len(self.waiting) < 6:
            self.waiting.append(BatchWorker(share))
            until_waiting(self.shares, len(self.waiting))

    @precondition(lambda self: self.going)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        share = self.going.pop(data.draw(st.integers(0, len(self.going) - 1)))
        share.end()
        self.settle()

    def settle(self) -> None:
        """Wait for the lanes whose turn it has become."""
        moment = threading.Event()
        while True:
            waiting = [lane for lane in self.waiting if not lane.began.is_set()]
            settled = len(self.shares._waiting) == len(waiting)
            if settled and not any(self.shares._may_begin(lane.share) for lane in waiting):
                break
            moment.wait(0.001)
        for lane in [lane for lane in self.waiting if lane.began.is_set()]:
            self.waiting.remove(lane)
            self.going.append(lane.share)

    @invariant()
    def nobody_waits_in_vain(self) -> None:
        for lane in self.waiting:
            assert lane.share.going >= 1
            assert sum(share.going for share in self.models) >= self.RUNS

    @invariant()
    def there_is_at_most_one_run_too_many_for_each_other_model(self) -> None:
        assert sum(share.going for share in self.models) <= self.RUNS + len(self.models) - 1

    def teardown(self) -> None:
        while self.going:
            self.going.pop().end()
            self.settle()


@given(st.integers(1, 8), st.integers(1, 4))
def test_models_that_are_never_out_of_work_share_alike(runs: int, models: int) -> None:
    """One of them has taken every run before the others come."""
    shares = ConcurrencyLimit(runs)
    each = [shares.share() for _ in range(models)]
    for _ in range(runs):
        each[0].begin()
    shares._waiting = list(each)
    for _ in range(2 * runs + models):
        for share in sorted(each, key=ModelShare.order):
            if shares._may_begin(share):
                share.begin()
        max(each, key=lambda share: share.going).end()
    for share in sorted(each, key=ModelShare.order):
        if shares._may_begin(share):
            share.begin()
    assert min(share.going for share in each) >= max(runs // models, 1)


TestRuns = Dispatch.TestCase
