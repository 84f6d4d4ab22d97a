"""The budget of unread answers, in any order of events: within its bounds, and never leaking."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
)
from semserve_server.rpc.unread_budget import Hold, UnreadBytes, Waiter

connections = st.sampled_from(["a", "b", "c"])


class BudgetMachine(RuleBasedStateMachine):
    """Answers take room at once or wait for it, change their size, and end in any order."""

    holds = Bundle("holds")
    waiters = Bundle("waiters")

    @initialize(most=st.integers(2, 200))
    def begin(self, most: int) -> None:
        self.budget = UnreadBytes(most)
        self.sizes: dict[Hold, int] = {}
        self.overdrawn = 0
        """Bytes by which answers had more than was estimated."""
        self.pending: dict[Waiter, list[bool]] = {}

    @rule(target=holds, connection=connections, size=st.integers(0, 100))
    def take_at_once(self, connection: str, size: int) -> Hold:
        hold = self.budget.hold(connection)
        fitted = self.budget.fits(connection, size)
        if fitted:
            hold.resize(size)
            assert self.budget.held <= self.budget.most
        self.sizes[hold] = size if fitted else 0
        return hold

    @rule(target=waiters, connection=connections, size=st.integers(1, 100))
    def wait(self, connection: str, size: int) -> Waiter:
        hold = self.budget.hold(connection)
        granted: list[bool] = []
        waiter = self.budget.wait(
            hold, min(size, self.budget.most_of_one), lambda: granted.append(True)
        )
        self.pending[waiter] = granted
        self._note_grants()
        return waiter

    @rule(hold=holds, size=st.integers(0, 120))
    def settle(self, hold: Hold, size: int) -> None:
        self.sizes[hold] = size
        hold.resize(size)
        self._note_grants()

    @rule(hold=consumes(holds))
    def release(self, hold: Hold) -> None:
        self.sizes[hold] = 0
        hold.release()
        hold.release()  # a second time does no harm
        self._note_grants()

    @rule(waiter=consumes(waiters))
    def leave(self, waiter: Waiter) -> None:
        """A waiter leaves, whether it has its room by now or not."""
        self.pending.pop(waiter, None)
        self.budget.forget(waiter)
        self.sizes[waiter.hold] = 0
        waiter.hold.release()
        self._note_grants()

    def _note_grants(self) -> None:
        for waiter, granted in list(self.pending.items()):
            assert len(granted) <= 1
            if granted:
                del self.pending[waiter]
                self.sizes[waiter.hold] = waiter.size

    @invariant()
    def what_is_held_is_the_sum_of_the_holds(self) -> None:
        if hasattr(self, "budget"):
            assert sum(self.sizes.values()) == self.budget.held
            assert len(self.pending) == self.budget.waiting

    @invariant()
    def somebody_waits_only_where_there_is_no_room_for_the_next(self) -> None:
        if hasattr(self, "budget") and self.pending:
            assert not all(
                self.budget.fits(waiter.hold.connection, waiter.size) for waiter in self.pending
            )

    def teardown(self) -> None:
        """When all holds end, all who wait get their room; when they end too, nothing is held."""
        if not hasattr(self, "budget"):
            return
        for hold in list(self.sizes):
            self.sizes[hold] = 0
            hold.release()
        while self.pending:
            before = len(self.pending)
            self._note_grants()
            assert len(self.pending) < before
            for hold in list(self.sizes):
                self.sizes[hold] = 0
                hold.release()
        assert (0, 0) == (self.budget.held, self.budget.waiting)


TestBudgetMachine = BudgetMachine.TestCase


def test_one_connection_leaves_half_of_the_budget_to_the_others() -> None:
    budget = UnreadBytes(100)
    budget.hold("greedy").resize(50)
    assert not budget.fits("greedy", 1)
    assert budget.fits("other", 50)


def test_connections_that_wait_take_turns() -> None:
    """One connection with three streams does not go three times before another goes once."""
    budget = UnreadBytes(100)
    full = budget.hold("x"), budget.hold("y")
    for one in full:
        one.resize(50)
    order: list[str] = []
    for connection in ("many", "many", "many", "one"):
        hold = budget.hold(connection)
        budget.wait(hold, 10, lambda connection=connection: order.append(connection))
    for one in full:
        one.release()
    assert ["many", "one", "many", "many"] == order


def test_a_large_answer_that_is_next_is_not_passed_by_small_ones() -> None:
    budget = UnreadBytes(100)
    holds = [budget.hold(name) for name in "xy"]
    for one in holds:
        one.resize(50)
    order: list[str] = []
    budget.wait(budget.hold("large"), 50, lambda: order.append("large"))
    budget.wait(budget.hold("small"), 1, lambda: order.append("small"))
    holds[0].resize(40)
    assert [] == order
    holds[0].resize(0)
    assert ["large"] == order
    holds[1].resize(0)
    assert ["large", "small"] == order
