"""Memory reserved for the reply of one request, from before its computation until it was read.

A unary call without room waits briefly, and is then refused before it is computed. A message of a
stream waits for room, and the stream is not read while it waits.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Protocol

from semserve_server.errors import InvalidRequest, Overloaded
from semserve_server.rpc.flow_control import Window
from semserve_server.rpc.unread_budget import Hold, UnreadBytes

COPIES = 2
"""Copies of a reply in memory until it is sent: Python's and gRPC's. A request is in memory as
bytes and as a message."""
GRACE_SECONDS = 0.5
"""How long a unary call waits for room: while other callers read their replies, room is made."""
RETRY_SECONDS = 0.5
"""Retry delay for a call that found no room: it is unknown when other clients will read."""


class ReplyRoom(Protocol):
    """The reservation of one request. Sizes are bytes of the serialized reply."""

    @property
    def connection(self) -> str:
        """The connection of the request, as gRPC's `peer`."""

    async def enter(self, size: int) -> None:
        """Wait for room, or refuse the request, before any work is done.

        Raises:
            InvalidRequest: the size exceeds the limit of a connection.
            Overloaded: there is no room.
        """

    async def hold(self, size: int) -> None:
        """Reserve room, immediately before the reply is computed.

        Raises:
            Overloaded: there is no room.
        """

    def settle(self, size: int) -> None:
        """Replace the estimate by the actual size of the reply."""


_room: ContextVar[ReplyRoom] = ContextVar("reply_room")


def reply_room() -> ReplyRoom:
    """Return the reservation of the present request, from its task's context."""
    return _room.get()


def use_room(room: ReplyRoom) -> None:
    """Set the reservation of the present task."""
    _room.set(room)


class CallRoom:
    """The reservation of a unary call. Its request stays in memory as long as its reply."""

    __slots__ = ("_hold", "_request", "_unread", "connection")

    def __init__(self, unread: UnreadBytes, connection: str, request: int) -> None:
        """Create an empty reservation.

        Args:
            unread: the budget.
            connection: connection of the call.
            request: bytes of the request.
        """
        self._unread = unread
        self._hold = unread.hold(connection)
        self._request = request
        self.connection = connection

    async def enter(self, size: int) -> None:
        """Refuse the call if there is no room. Reserves nothing yet if there is."""
        bytes_ = COPIES * (size + self._request)
        _check_possible(self._unread, bytes_)
        if not self._unread.fits(self.connection, bytes_):
            await self._wait(bytes_)

    async def hold(self, size: int) -> None:
        """Reserve room, or refuse the call."""
        bytes_ = COPIES * (size + self._request)
        if self._hold.size:  # `enter` has waited for it
            return
        if self._unread.fits(self.connection, bytes_):
            self._hold.resize(bytes_)
        else:
            await self._wait(bytes_)

    def settle(self, size: int) -> None:
        """Replace the estimate by the actual size."""
        self._hold.resize(COPIES * (size + self._request))

    def release(self) -> None:
        """Release the reservation."""
        self._hold.release()

    async def _wait(self, bytes_: int) -> None:
        """Wait for room, and reserve it.

        Raises:
            Overloaded: there is none after `GRACE_SECONDS`.
        """
        try:
            async with asyncio.timeout(GRACE_SECONDS):
                await _granted(self._unread, self._hold, bytes_)
        except TimeoutError:
            raise Overloaded(
                "too many replies are unread: read the replies of this connection, "
                "or try again later",
                retry_after=RETRY_SECONDS,
                cause="unread_bytes",
            ) from None


class StreamRooms:
    """Creates the reservations of one stream's messages."""

    def __init__(self, unread: UnreadBytes, connection: str, window: Window) -> None:
        self.unread = unread
        self.connection = connection
        self.window = window

    def room(self, request: int) -> MessageRoom:
        """Create the reservation of a message, and set it in the present task."""
        room = MessageRoom(self, request)
        use_room(room)
        return room


class MessageRoom:
    """The reservation of one message of a stream. Its request is freed when its reply exists."""

    __slots__ = ("_hold", "_request", "_stream", "_taken", "connection")

    def __init__(self, stream: StreamRooms, request: int) -> None:
        self._stream = stream
        self.connection = stream.connection
        self._request = request
        self._hold: Hold = stream.unread.hold(stream.connection)
        self._taken = 0

    async def enter(self, size: int) -> None:
        """Wait for room in the stream's window, then in the whole budget, and reserve it."""
        unread, window = self._stream.unread, self._stream.window
        bytes_ = COPIES * (size + self._request)
        _check_possible(unread, bytes_)
        if window.has_unread_room(bytes_) and unread.take_at_once(self._hold, bytes_):
            self._take(bytes_)
            return
        async with window.unread_room(bytes_):
            self._take(bytes_)
            await _granted(unread, self._hold, bytes_)

    async def hold(self, size: int) -> None:
        """Do nothing: `enter` has reserved the room."""

    def settle(self, size: int) -> None:
        """Replace the estimate by the actual size."""
        self._hold.resize(COPIES * size)
        self._take(COPIES * size)

    def release(self) -> None:
        """Release the reservation."""
        self._hold.release()
        self._take(0)

    def _take(self, bytes_: int) -> None:
        self._stream.window.change_unread(bytes_ - self._taken)
        self._taken = bytes_


async def _granted(unread: UnreadBytes, hold: Hold, bytes_: int) -> None:
    """Wait in the queue of the budget until a reservation has room."""
    granted = asyncio.Event()
    waiter = unread.wait(hold, bytes_, granted.set)
    try:
        await granted.wait()
    finally:
        unread.forget(waiter)


def _check_possible(unread: UnreadBytes, bytes_: int) -> None:
    if bytes_ > unread.most_of_one:
        raise InvalidRequest.of(
            "",
            f"the request and its answer would take about {bytes_} bytes of memory, "
            f"at most {unread.most_of_one} are allowed: send fewer texts a request",
        )
