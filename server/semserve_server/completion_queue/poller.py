"""The thread that waits for the completion queue, and then runs the event loop."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from grpc._cython import cygrpc  # type: ignore[attr-defined]  # it is private

from semserve_server.completion_queue.shared_event_loop import SharedEventLoop

log = logging.getLogger(__name__)

THREAD = "grpc-poller"
"""Name of the thread."""
MAX_EVENTS = 64
"""Most events of one iteration of the event loop."""
_COMPLETE = cygrpc.CompletionType.operation_complete
_SHUTDOWN = cygrpc.CompletionType.queue_shutdown
_AT_ONCE = 0.0
"""A deadline that has passed, in seconds since 1970."""


class Poller:
    """Calls the tag of each event on the event loop, in their order."""

    def __init__(self, queue: Any, loop: SharedEventLoop, *, ended: Callable[[], None]) -> None:
        """Create the thread.

        Args:
            queue: a `cygrpc.CompletionQueue`. The tags of its events are functions.
            loop: runs them.
            ended: called on the event loop when the queue is closed and empty.
        """
        self._queue = queue
        self._loop = loop
        self._when_ended = ended
        self._arrived: deque[Any] = deque()
        self._thread = threading.Thread(target=self._poll, name=THREAD, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._loop.add_receiver(self._receive)
        self._thread.start()

    def join(self) -> None:
        """Wait for the end of the thread, which follows the call of `ended` at once."""
        self._thread.join()

    def _poll(self) -> None:
        while True:
            event = self._queue.poll()
            if event.completion_type == _SHUTDOWN:
                # A loop that has ended takes no more callbacks.
                with contextlib.suppress(RuntimeError):
                    self._loop.call_soon_threadsafe(self._end)
                return
            self._arrived.append(event)
            del event  # a thread that waits must not keep a call
            self._loop.run_guest()

    def _end(self) -> None:
        self._loop.remove_receiver(self._receive)
        self._when_ended()

    def _receive(self) -> None:
        """Call the tags of the events that have arrived, on the event loop."""
        if self._arrived:
            self._take(self._arrived.popleft())
            return
        for _ in range(MAX_EVENTS):
            if not self._take(self._queue.poll(_AT_ONCE)):
                return

    def _take(self, event: Any) -> bool:
        """Call the tag of an event. False if there was none, or if the queue is closed."""
        if event.completion_type != _COMPLETE:
            return False
        try:
            event.tag(event)
        except Exception:
            log.exception("an event of a call failed. This is a bug.")
        return True
