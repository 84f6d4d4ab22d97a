"""Bounds of the transport, and how gRPC is told of them."""

from __future__ import annotations

from dataclasses import dataclass

from semserve_server.rpc.flow_control import Window

MAX_PENDING_CALLS = 65_536
"""Calls that gRPC has not handed over yet."""
MIN_PING_SECONDS = 10
"""Callers may keep idle connections alive by pinging them, no more often than this."""
UNBOUNDED = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """Bounds of connections, calls and messages. Times are in seconds."""

    max_message_bytes: int
    """Most bytes of a request message; gRPC refuses larger ones with RESOURCE_EXHAUSTED."""
    max_stream_requests: int
    """Most messages of one stream that are read and not yet answered."""
    max_stream_bytes: int
    """Bytes of such messages past which no more are read."""
    max_unread_bytes: int = 268_435_456
    """Most bytes of memory for answers that have not been read, and for their requests."""
    max_stream_unread_bytes: int = 16_777_216
    """The same of one stream, past which it is read no further; it may always hold one answer."""
    max_queue_scores: int = 8_388_608
    """Most scores that wait to be computed, of all requests."""
    max_calls: int = 16_384
    """Most calls at a time, streams among them; gRPC refuses further ones."""
    max_connections: int
    """Most connections at a time; further ones are closed at once."""
    max_connection_calls: int
    """Most calls of one connection at a time; further ones wait at their caller."""
    max_connection_idle: float
    """A connection without calls for so long is closed; 0 for never."""
    max_connection_age: float
    """A connection is asked to end after so long, give or take a tenth; 0 for never."""
    max_connection_age_grace: float
    """What is left to the calls of a connection that was asked to end."""
    keepalive_time: float
    """A connection that is silent for so long is pinged; 0 for never."""
    keepalive_timeout: float
    """A connection that does not answer a ping for so long is closed."""
    handshake_timeout: float
    """A connection that has not said what HTTP/2 and TLS begin with for so long is closed."""
    shares_port: bool = False
    """Whether other processes listen on the same port; else one that does is a mistake."""

    def new_window(self) -> Window:
        """Make the bounds of one stream."""
        return Window(
            max_requests=self.max_stream_requests,
            max_bytes=self.max_stream_bytes,
            max_unread_bytes=self.max_stream_unread_bytes,
        )

    def options(self) -> list[tuple[str, int]]:
        """Return gRPC's own names and units for them."""
        return [
            ("grpc.max_receive_message_length", self.max_message_bytes),
            # Answers are as large as the limits on requests make them.
            ("grpc.max_send_message_length", -1),
            # Past its default of about a thousand pending calls gRPC cancels them, where the
            # engine's door would say when to return.
            ("grpc.server.max_pending_requests", MAX_PENDING_CALLS),
            ("grpc.server.max_pending_requests_hard_limit", MAX_PENDING_CALLS),
            ("grpc.so_reuseport", int(self.shares_port)),
            ("grpc.max_allowed_incoming_connections", self.max_connections),
            ("grpc.max_concurrent_streams", self.max_connection_calls),
            # It counts calls that have ended and are not yet tidied away, and so refuses callers
            # that keep to the bound. Those that do not are refused without it.
            ("grpc.http.overload_protection", 0),
            ("grpc.max_connection_idle_ms", _milliseconds(self.max_connection_idle)),
            ("grpc.max_connection_age_ms", _milliseconds(self.max_connection_age)),
            ("grpc.max_connection_age_grace_ms", _milliseconds(self.max_connection_age_grace)),
            ("grpc.keepalive_time_ms", _milliseconds(self.keepalive_time)),
            ("grpc.keepalive_timeout_ms", _milliseconds(self.keepalive_timeout)),
            # The one that closes: gRPC pings for other ends too, and leaves this at a minute.
            ("grpc.http2.ping_timeout_ms", _milliseconds(self.keepalive_timeout)),
            ("grpc.server_handshake_timeout_ms", _milliseconds(self.handshake_timeout)),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", MIN_PING_SECONDS * 1000),
        ]


def _milliseconds(seconds: float) -> int:
    """Translate a time; 0 is gRPC's longest, which it takes for never."""
    return round(seconds * 1000) if seconds else UNBOUNDED
