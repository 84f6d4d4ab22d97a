"""Limits of connections and calls, and their gRPC channel arguments."""

from __future__ import annotations

from dataclasses import dataclass

from semserve_server.rpc.flow_control import Window

MAX_PENDING_CALLS = 65_536
"""Most calls that gRPC has not handed over yet."""
MIN_PING_SECONDS = 10
"""Least seconds between two pings of a client."""
UNBOUNDED = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """Limits of connections, calls and messages. Times are in seconds."""

    max_message_bytes: int
    """Most bytes of a request message. gRPC answers larger messages with RESOURCE_EXHAUSTED."""
    max_stream_requests: int
    """Most messages of one stream that are read and not answered."""
    max_stream_bytes: int
    """Bytes of such messages at which reading stops."""
    max_unread_bytes: int = 268_435_456
    """Most bytes of memory for unread replies and their requests."""
    max_stream_unread_bytes: int = 16_777_216
    """The same for one stream. At the limit reading stops; a stream can always hold one reply."""
    max_queue_scores: int = 8_388_608
    """Most scores of all requests that wait to be computed."""
    max_calls: int = 16_384
    """Most concurrent calls, including streams. gRPC refuses further ones."""
    max_connections: int
    """Most connections. Further ones are closed immediately."""
    max_connection_calls: int
    """Most concurrent calls of one connection. Further ones wait in the client."""
    max_connection_idle: float
    """A connection without calls for this time is closed; 0 for never."""
    max_connection_age: float
    """The client is asked to close a connection after this time, plus or minus 10 %; 0 for
    never."""
    max_connection_age_grace: float
    """Time for the calls of such a connection."""
    keepalive_time: float
    """A connection without data for this time is pinged; 0 for never."""
    keepalive_timeout: float
    """A connection that does not acknowledge a ping within this time is closed."""
    handshake_timeout: float
    """A connection that has not finished its TLS and HTTP/2 handshakes in this time is closed."""
    shares_port: bool = False
    """Whether other processes listen on the same port; otherwise such a process is a mistake."""

    def new_window(self) -> Window:
        """Create the limits of one stream."""
        return Window(
            max_requests=self.max_stream_requests,
            max_bytes=self.max_stream_bytes,
            max_unread_bytes=self.max_stream_unread_bytes,
        )

    def options(self) -> list[tuple[str, int]]:
        """Return the gRPC channel arguments."""
        return [
            ("grpc.max_receive_message_length", self.max_message_bytes),
            # The size of replies follows from the limits of requests.
            ("grpc.max_send_message_length", -1),
            # At its default of about a thousand pending calls gRPC cancels calls. Admission control
            # would answer with the time to retry.
            ("grpc.server.max_pending_requests", MAX_PENDING_CALLS),
            ("grpc.server.max_pending_requests_hard_limit", MAX_PENDING_CALLS),
            ("grpc.so_reuseport", int(self.shares_port)),
            ("grpc.max_allowed_incoming_connections", self.max_connections),
            ("grpc.max_concurrent_streams", self.max_connection_calls),
            # Disabled: it counts finished calls that are not cleaned up yet, so it rejects
            # well-behaved clients. HTTP/2 MAX_CONCURRENT_STREAMS is enforced anyway.
            ("grpc.http.overload_protection", 0),
            ("grpc.max_connection_idle_ms", _milliseconds(self.max_connection_idle)),
            ("grpc.max_connection_age_ms", _milliseconds(self.max_connection_age)),
            ("grpc.max_connection_age_grace_ms", _milliseconds(self.max_connection_age_grace)),
            ("grpc.keepalive_time_ms", _milliseconds(self.keepalive_time)),
            ("grpc.keepalive_timeout_ms", _milliseconds(self.keepalive_timeout)),
            # This argument closes the connection. gRPC pings for other purposes too, and its
            # default is a minute.
            ("grpc.http2.ping_timeout_ms", _milliseconds(self.keepalive_timeout)),
            ("grpc.server_handshake_timeout_ms", _milliseconds(self.handshake_timeout)),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", MIN_PING_SECONDS * 1000),
        ]


def _milliseconds(seconds: float) -> int:
    """Convert seconds, to 1 ms or more; 0 becomes the largest value, which gRPC takes as never."""
    return max(1, round(seconds * 1000)) if seconds else UNBOUNDED
