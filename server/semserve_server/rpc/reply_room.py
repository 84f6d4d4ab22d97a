"""Room for the answer of one request, counted from before it is computed until it has been read.

A unary call that finds no room is refused before it is computed. A message of a stream waits for
room, and while it waits the stream is not read any further.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Protocol

from semserve_server.errors import InvalidRequest, Overloaded
from semserve_server.rpc.flow_control import Window
from semserve_server.rpc.unread_budget import Hold, UnreadBytes

COPIES = 2
"""How often the bytes of an answer are in memory until they are sent: Python's and gRPC's own. A
request is there as bytes and as a message."""
RETRY_SECONDS = 0.5
"""When a call that found no room should try again: nobody knows when other clients will read."""


class ReplyRoom(Protocol):
    """The room of one request. Sizes are bytes of the serialized answer."""

    async def enter(self, size: int) -> None:
        """Look for room before any work is done: wait for it, or refuse.

        Raises:
            InvalidRequest: so much room there can never be.
            Overloaded: there is none now.
        """

    def hold(self, size: int) -> None:
        """Hold room, right before the answer is computed.

        Raises:
            Overloaded: there is none now.
        """

    def settle(self, size: int) -> None:
        """Hold what the answer has in truth, now that it is there."""


_room: ContextVar[ReplyRoom] = ContextVar("reply_room")


def reply_room() -> ReplyRoom:
    """Return the room of the request that is being answered, which its task's context carries."""
    return _room.get()


def use_room(room: ReplyRoom) -> None:
    """Let `reply_room` return this room in the present task."""
    _room.set(room)


class CallRoom:
    """The room of a unary call, whose request is in memory for as long as its answer."""

    __slots__ = ("_hold", "_request", "_unread")

    def __init__(self, unread: UnreadBytes, connection: str, request: int) -> None:
        """Make one that holds nothing yet.

        Args:
            unread: the budget.
            connection: that the call came by.
            request: bytes of the request.
        """
        self._unread = unread
        self._hold = unread.hold(connection)
        self._request = request

    async def enter(self, size: int) -> None:
        """Refuse the call if there is no room; nothing is held yet."""
        _check_possible(self._unread, self._bytes(size))
        self._check(size)

    def hold(self, size: int) -> None:
        """Hold room, or refuse the call."""
        self._check(size)
        self._hold.resize(self._bytes(size))

    def settle(self, size: int) -> None:
        """Hold what the answer has in truth."""
        self._hold.resize(self._bytes(size))

    def release(self) -> None:
        """Hold nothing any more."""
        self._hold.release()

    def _bytes(self, size: int) -> int:
        return COPIES * (size + self._request)

    def _check(self, size: int) -> None:
        if not self._unread.fits(self._hold.connection, self._bytes(size)):
            raise Overloaded(
                "too many answers have not been read: read those of this connection, "
                "or try again later",
                retry_after=RETRY_SECONDS,
                cause="unread_bytes",
            )


class StreamRooms:
    """Makes the rooms of one stream's messages."""

    def __init__(self, unread: UnreadBytes, connection: str, window: Window) -> None:
        self.unread = unread
        self.connection = connection
        self.window = window

    def room(self, request: int) -> MessageRoom:
        """Make the room of a message of so many bytes, and let the present task use it."""
        room = MessageRoom(self, request)
        use_room(room)
        return room


class MessageRoom:
    """The room of one message of a stream, whose request is gone when its answer is there."""

    __slots__ = ("_hold", "_request", "_stream", "_taken")

    def __init__(self, stream: StreamRooms, request: int) -> None:
        self._stream = stream
        self._request = request
        self._hold: Hold = stream.unread.hold(stream.connection)
        self._taken = 0

    async def enter(self, size: int) -> None:
        """Wait for room in the stream's window, then in the whole budget, and hold it."""
        bytes_ = COPIES * (size + self._request)
        _check_possible(self._stream.unread, bytes_)
        async with self._stream.window.unread_room(bytes_):
            self._take(bytes_)
            granted = asyncio.Event()
            waiter = self._stream.unread.wait(self._hold, bytes_, granted.set)
            try:
                await granted.wait()
            finally:
                self._stream.unread.forget(waiter)

    def hold(self, size: int) -> None:
        """Do nothing: it is held since `enter`."""

    def settle(self, size: int) -> None:
        """Hold what the answer has in truth."""
        self._hold.resize(COPIES * size)
        self._take(COPIES * size)

    def release(self) -> None:
        """Hold nothing any more."""
        self._hold.release()
        self._take(0)

    def _take(self, bytes_: int) -> None:
        self._stream.window.change_unread(bytes_ - self._taken)
        self._taken = bytes_


def _check_possible(unread: UnreadBytes, bytes_: int) -> None:
    if bytes_ > unread.most_of_one:
        raise InvalidRequest.of(
            "",
            f"the request and its answer would take about {bytes_} bytes of memory, "
            f"at most {unread.most_of_one} are allowed: send fewer texts a request",
        )
