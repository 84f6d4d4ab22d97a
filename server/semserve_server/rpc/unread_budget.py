"""The budget of bytes that are held for answers which clients have not read yet. Pure.

An answer is counted before it is computed, by an estimate, and until the transport has taken all of
it. The whole budget is shared by all connections, and one connection may hold at most half of it,
so that a single client that does not read cannot use up what the others need.

What asks for room either checks and takes it at once, or waits for it. Those who wait are served in
turn, one connection after another, so that a connection with many streams does not go before one
with few. Whoever is next and does not fit into the whole budget holds up all others that wait, or
small answers would pass a large one for ever.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

CONNECTIONS_AT_LEAST = 2
"""How many connections that do not read it takes to use up the budget."""


class UnreadBytes:
    """The bytes that are held, of all connections and of each one. Used on the event loop alone."""

    def __init__(self, most: int) -> None:
        """Make an empty budget.

        Args:
            most: bytes that may be held in all.
        """
        self.most = most
        self.most_of_one = most // CONNECTIONS_AT_LEAST
        """Bytes that one connection may hold."""
        self.held = 0
        """Bytes that are held now."""
        self._by_connection: dict[str, int] = {}
        self._waiting: deque[deque[Waiter]] = deque()
        """A queue for each connection that waits; the connection at the left is next."""

    def __repr__(self) -> str:
        return f"<UnreadBytes {self.held} of {self.most}, {len(self._by_connection)} connections>"

    @property
    def waiting(self) -> int:
        """How many wait for room."""
        return sum(map(len, self._waiting))

    def hold(self, connection: str) -> Hold:
        """Return a hold of no bytes yet."""
        return Hold(self, connection)

    def fits(self, connection: str, size: int) -> bool:
        """Tell whether a connection may hold so many bytes more."""
        return self.held + size <= self.most and self._within_share(connection, size)

    def wait(self, hold: Hold, size: int, granted: Callable[[], None]) -> Waiter:
        """Wait until a hold may have so many bytes; `granted` is called once it has them."""
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
        """Let a waiter wait no longer; nothing happens if it waits no longer already."""
        for queue in self._waiting:
            if waiter in queue:
                queue.remove(waiter)
                if not queue:
                    self._waiting.remove(queue)
                break
        self._grant()

    def change(self, connection: str, by: int) -> None:
        """Count bytes in, or with a negative number out. For `Hold`."""
        self.held += by
        left = self._by_connection.get(connection, 0) + by
        if left:
            self._by_connection[connection] = left
        else:
            self._by_connection.pop(connection, None)
        if by < 0:
            self._grant()

    def _within_share(self, connection: str, size: int) -> bool:
        return self._by_connection.get(connection, 0) + size <= self.most_of_one

    def _grant(self) -> None:
        """Give room to those that wait, in their turn, until the next one does not fit."""
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
    """The bytes that are held for one answer."""

    __slots__ = ("_budget", "connection", "size")

    def __init__(self, budget: UnreadBytes, connection: str) -> None:
        self._budget = budget
        self.connection = connection
        self.size = 0

    def resize(self, size: int) -> None:
        """Hold so many bytes from now on, whether they fit or not."""
        by, self.size = size - self.size, size
        if by:
            self._budget.change(self.connection, by)

    def release(self) -> None:
        """Hold nothing any more."""
        self.resize(0)


class Waiter:
    """One that waits for room."""

    __slots__ = ("granted", "hold", "size")

    def __init__(self, hold: Hold, size: int, granted: Callable[[], None]) -> None:
        self.hold = hold
        self.size = size
        self.granted = granted
