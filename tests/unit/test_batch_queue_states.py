"""The queue, admission control and the cost model in any order of events.

Every entry leaves the queue exactly once, and none runs after its deadline. The state machine does
what the batcher does, without threads and clock: requests ask for admission, workers take batches
and finish them, callers cancel, time passes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
)
from semserve_server.errors import Overloaded
from semserve_server.runtime.encoding import Encoding
from semserve_server.scheduling.admission import Admission, Backlog, QueueLoad
from semserve_server.scheduling.batch_queue import (
    MIN_MANY_ENTRIES,
    BatchQueue,
    DequeuedBatch,
    Entry,
)
from semserve_server.scheduling.cost_model import CostModel

BUDGET = 64
MOST_ENTRIES = 40
MOST_TOKENS = 600
WORKERS = 2

lengths = st.lists(st.integers(1, 100), min_size=1, max_size=20)


@dataclass(eq=False)
class Request:
    """A request's entries, and what became of each."""

    entries: list[Entry[Request]] = field(default_factory=list)
    fates: dict[int, str] = field(default_factory=dict)
    before: dict[int, int] = field(default_factory=dict)
    """How many entries waited before an entry when it came."""
    passed_over: dict[int, int] = field(default_factory=dict)
    """How many batches were taken while an entry waited, without it."""
    others_since: dict[int, int] = field(default_factory=dict)
    """How many entries of other callers have come while an entry waited."""


class QueueMachine(RuleBasedStateMachine):
    """Holds the policy's promises after every step."""

    requests = Bundle("requests")
    many = MIN_MANY_ENTRIES
    """Entries of a batch from which it is formed by lengths."""

    def __init__(self) -> None:
        super().__init__()
        self.cost = CostModel(fixed=0.001, per_token=0.000_1)
        self.queue: BatchQueue[Request] = BatchQueue(
            max_batch_tokens=BUDGET, cost=self.cost, min_many_entries=self.many
        )
        self.admission = Admission(
            cost=self.cost,
            workers=WORKERS,
            max_batch_tokens=BUDGET,
            max_entries=MOST_ENTRIES,
            max_tokens=MOST_TOKENS,
        )
        self.now = 0.0
        self.waiting: list[Entry[Request]] = []
        """The entries that should be in the queue, the oldest first."""
        self.running: list[DequeuedBatch[Request]] = []

    @rule(
        target=requests,
        sizes=lengths,
        patience=st.sampled_from([0.01, 0.1, 1.0, float("inf")]),
        caller=st.sampled_from(["alice", "bob", "carol"]),
    )
    def ask(self, sizes: list[int], patience: float, caller: str) -> Request:
        """Ask for admission, which takes the request whole or leaves no trace of it."""
        request = Request()
        demand = QueueLoad(len(sizes), sum(sizes))
        before = self.queue.backlog(caller)
        running = sum(taken.padded_tokens for taken in self.running)
        refusal = self._refusal(demand, before, running, patience)
        if refusal:
            assert refusal.retry_after >= 0
            assert before.entries or running, "an idle machine always tries"
            return request
        for index, size in enumerate(sizes):
            encoding = Encoding([1] * size, [0] * size)
            entry = Entry(encoding, size, self.now + patience, request, index, caller)
            request.entries.append(entry)
            request.before[index] = len(self.waiting) + index
            request.passed_over[index] = request.others_since[index] = 0
        for entry in self.waiting:
            entry.owner.others_since[entry.index] += (entry.caller != caller) * len(sizes)
        self.queue.put(request.entries)
        self.waiting += request.entries
        return request

    def _refusal(
        self, new: QueueLoad, waiting: Backlog, running: int, patience: float
    ) -> Overloaded | None:
        try:
            self.admission.check(new, waiting, running, patience)
        except Overloaded as refusal:
            return refusal
        return None

    @rule(request=consumes(requests))
    def leave(self, request: Request) -> None:
        """Drop what of a request still waits, as when its caller has left; twice does no harm."""
        for _ in range(2):
            self.queue.drop(request.entries)
        for entry in [one for one in self.waiting if one.owner is request]:
            self.waiting.remove(entry)
            request.fates[entry.index] = "dropped"

    @precondition(lambda self: self.queue and len(self.running) < WORKERS)
    @rule()
    def take(self) -> None:
        """Take a batch on a free worker."""
        taken = self.queue.take(self.now)
        living = [one for one in self.waiting if self.now < one.deadline]
        for entry in taken.expired:
            assert entry.deadline <= self.now
            self._end(entry, "expired")
        if living:
            oldest = {one.caller: one for one in reversed(living)}
            assert taken.batch[0] is oldest[taken.batch[0].caller], "nobody overtakes itself"
            assert len(taken.batch) == 1 or taken.padded_tokens <= BUDGET
        for entry in taken.batch:
            assert self.now < entry.deadline, "what has expired never runs"
            self._end(entry, "ran")
        for entry in self.waiting:
            owner, place = entry.owner, entry.index
            owner.passed_over[place] += 1
            assert owner.passed_over[place] <= owner.before[place] + owner.others_since[place]
        if taken.batch:
            self.running.append(taken)

    def _end(self, entry: Entry[Request], fate: str) -> None:
        assert entry in self.waiting, "it was there, and it leaves once"
        self.waiting.remove(entry)
        assert entry.index not in entry.owner.fates
        entry.owner.fates[entry.index] = fate

    @precondition(lambda self: self.running)
    @rule(place=st.integers(0, WORKERS - 1), seconds=st.floats(1e-5, 10))
    def finish(self, place: int, seconds: float) -> None:
        """End a run that took so long, and learn from it."""
        taken = self.running.pop(place % len(self.running))
        self.cost.observe(taken.padded_tokens, seconds)
        self.now += seconds

    @rule(seconds=st.floats(0, 1))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds

    @invariant()
    def what_waits_is_counted(self) -> None:
        """Nobody is lost, and nobody is counted who has gone."""
        assert len(self.waiting) == len(self.queue) <= MOST_ENTRIES
        assert sum(one.length for one in self.waiting) == self.queue.tokens
        assert all(one.waiting for one in self.waiting)

    @invariant()
    def each_caller_is_counted(self) -> None:
        """A caller's own part of the queue is what waits of it, and nothing stays of the gone."""
        waiting = Counter(one.caller for one in self.waiting)
        for caller in ("alice", "bob", "carol"):
            backlog = self.queue.backlog(caller)
            tokens = sum(one.length for one in self.waiting if one.caller == caller)
            assert QueueLoad(waiting[caller], tokens) == backlog.caller_load
            assert len(waiting.keys() - {caller}) == backlog.other_callers

    @invariant()
    def nothing_dead_piles_up(self) -> None:
        """Dropped entries, and items of callers that left, are kept in a bounded number."""
        assert self.queue.stored <= 2 * len(self.queue) + 64 + 3 * (8 + 2)

    @invariant()
    def costs_make_sense(self) -> None:
        """No run is free or takes less than no time, whatever was observed."""
        assert self.cost.seconds(BUDGET) >= -1e-9
        assert self.cost.seconds(2 * BUDGET) >= self.cost.seconds(BUDGET) - 1e-9

    def teardown(self) -> None:
        """Let the workers empty the queue: each take ends at least one entry."""
        for _ in range(len(self.waiting)):
            if not self.queue:
                break
            self.running.clear()
            self.take()
        assert not self.waiting
        assert not self.queue.tokens


class ManyEntriesMachine(QueueMachine):
    """The same with batches that are formed by lengths."""

    many = 1


TestQueueMachine = QueueMachine.TestCase
TestManyEntriesMachine = ManyEntriesMachine.TestCase
TestQueueMachine.settings = TestManyEntriesMachine.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None
)
