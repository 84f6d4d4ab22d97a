"""The budget of bytes for replies that clients have not read yet. Pure.

A reply counts from before it is computed, by an estimate, until the transport has taken all of it.
All connections share the budget. One connection can hold at most half of it, so that a single
client that does not read cannot block the others.

A request either checks for room and takes it immediately, or waits for it. Waiting requests are
served in turns, one connection after another, so that a connection with many streams gets no more
than one with few. If the next one does not fit the budget, all others wait behind it; otherwise
small replies would overtake a large one without end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

CONNECTIONS_AT_LEAST = 2
"""Number of connections without reading clients that it takes to exhaust the budget."""


class UnreadBytes:
    """The reserved bytes, in all and by connection. Used only on the event loop."""

    def __init__(self, most: int) -> None:
        """Create an empty budget.

        Args:
            most: most bytes in all.
        """
        self.most = most
        self.most_of_one = most // CONNECTIONS_AT_LEAST
        """Most bytes of one connection."""
        self.held = 0
        """Reserved bytes."""
        self._by_connection: dict[str, int] = {}
        self._waiting: deque[deque[Waiter]] = deque()
        """A queue for each waiting connection; the connection at the left is next."""

    def __repr__(self) -> str:
        return f"<UnreadBytes {self.held} of {self.most}, {len(self._by_connection)} connections>"

    @property
    def waiting(self) -> int:
        """Number of waiting requests."""
        return sum(map(len, self._waiting))

    def hold(self, connection: str) -> Hold:
        """Return an empty reservation."""
        return Hold(self, connection)

    def fits(self, connection: str, size: int) -> bool:
        """Return whether a connection may reserve `size` more bytes."""
        own = self._by_connection.get(connection, 0)
        return self.held + size <= self.most and own + size <= self.most_of_one

    def take_at_once(self, hold: Hold, size: int) -> bool:
        """Reserve room for an empty reservation, if none waits before it. Return whether it did."""
        if self._waiting or not self.fits(hold.connection, size):
            return False
        hold.resize(size)
        return True

    def wait(self, hold: Hold, size: int, granted: Callable[[], None]) -> Waiter:
        """Wait for room. `granted` is called when the reservation has it."""
        waiter = Waiter(hold, size, granted)
        for queue in self._waiting:
            if queue[0].hold.connection == hold.connection:
                queue.append(waiter)
                break
        else:
            self._waiting.append(deque((waiter,)))
        self._grant()
        return waiter

    def forget(self, waiter: Waiter) -> None:
        """Remove a waiter; does nothing if it no longer waits."""
        for queue in self._waiting:
            if waiter in queue:
                queue.remove(waiter)
                if not queue:
                    self._waiting.remove(queue)
                break
        self._grant()

    def change(self, connection: str, by: int) -> None:
        """Add reserved bytes. A negative number removes bytes. Called by `Hold`."""
        self.held += by
        left = self._by_connection.get(connection, 0) + by
        if left:
            self._by_connection[connection] = left
        else:
            self._by_connection.pop(connection, None)
        if by < 0 and self._waiting:
            self._grant()

    def _within_share(self, connection: str, size: int) -> bool:
        return self._by_connection.get(connection, 0) + size <= self.most_of_one

    def _grant(self) -> None:
        """Give room to the waiters in turn, until the next one does not fit."""
        passed_over = 0
        while passed_over < len(self._waiting):
            queue = self._waiting[0]
            first = queue[0]
            if not self._within_share(first.hold.connection, first.size):
                self._waiting.rotate(-1)
                passed_over += 1
                continue
            if self.held + first.size > self.most:
                return
            queue.popleft()
            self._waiting.popleft()
            if queue:
                self._waiting.append(queue)
            passed_over = 0
            first.hold.resize(first.hold.size + first.size)
            first.granted()


class Hold:
    """The bytes reserved for one reply."""

    __slots__ = ("_budget", "connection", "size")

    def __init__(self, budget: UnreadBytes, connection: str) -> None:
        self._budget = budget
        self.connection = connection
        self.size = 0

    def resize(self, size: int) -> None:
        """Set the reserved bytes, whether they fit or not."""
        by, self.size = size - self.size, size
        if by:
            self._budget.change(self.connection, by)

    def release(self) -> None:
        """Release the bytes."""
        self.resize(0)


class Waiter:
    """A request that waits for room."""

    __slots__ = ("granted", "hold", "size")

    def __init__(self, hold: Hold, size: int, granted: Callable[[], None]) -> None:
        self.hold = hold
        self.size = size
        self.granted = granted
