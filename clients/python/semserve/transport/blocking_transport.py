"""Executes the work of the blocking client, over a channel that the first call opens."""

import threading
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
from google.protobuf.message import Message

from semserve.calls import health
from semserve.calls.health import Health
from semserve.connection.options import Call, Options, Timeout
from semserve.connection.reply import Timing, trailing, with_call_details
from semserve.errors import ClientClosed, SemserveError
from semserve.requests.work import Answer, Batches, Method, Part, Results, Work
from semserve.transport.blocking_stream import Stream
from semserve.transport.window import Window

Result = TypeVar("Result")


class Connection:
    """A channel and its gRPC callables, each created once."""

    def __init__(self, channel: Any) -> None:
        self.channel = channel
        self._methods: dict[str, Any] = {}

    def method(self, method: Method) -> Any:
        """Return the gRPC callable of a method."""
        found = self._methods.get(method.path)
        if found is None:
            found = self._methods[method.path] = getattr(self.channel, method.kind)(
                method.path,
                request_serializer=method.request.SerializeToString,
                response_deserializer=method.response.FromString,
            )
        return found


class BlockingTransport(Options):
    """A connection to a server. The first call opens it."""

    def _prepare(self) -> None:
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._closing = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. Calls in flight and later calls raise `ClientClosed`."""
        with self._lock:
            self._closed = True
            self._closing.set()
            if self._connection is not None:
                self._connection.channel.close()

    def _method(self, method: Method) -> Any:
        """Return the gRPC callable of a method.

        Raises:
            ClientClosed: the client is closed.
        """
        with self._lock:
            if self._closed:
                raise ClientClosed
            if self._connection is None:
                self._connection = Connection(self._channel())
            return self._connection.method(method)

    def _channel(self) -> grpc.Channel:
        arguments = self._channel_arguments()
        if self._credentials is None:
            return grpc.insecure_channel(self.address, arguments)
        return grpc.secure_channel(self.address, self._credentials, arguments)

    def _execute(
        self,
        work: Work[Result],
        timeout: Timeout,
        metadata: Mapping[str, str | bytes] | None,
    ) -> Result:
        """Execute work: one request, several in sequence, or over a stream."""
        call = self._call(timeout, metadata)
        results = Results(work, self._progress)
        batches = work.batches
        answers = self._answers(batches, call) if batches else self._send_parts(work, call)
        # Closed immediately if a part fails, so that the server can stop.
        with closing(answers):
            for answer in answers:
                results.take(answer)
        return results.whole()

    def _send_parts(self, work: Work[Result], call: Call) -> Generator[Answer[Result], None, None]:
        for index, part in enumerate(work.parts):
            try:
                response, request_id, timing = self._send(work.method, part, call)
            except SemserveError as error:
                yield part.failed(index, error)
            else:
                result = work.read(part.request, response)
                yield Answer(index, None, with_call_details(result, request_id, timing))

    def _send(self, method: Method, part: Part, call: Call) -> tuple[Any, str, Timing | None]:
        """Send one request until it succeeds, with the retries of `Retry`.

        Returns:
            The response, the request id, and the server's times.

        Raises:
            SemserveError: the call failed.
        """
        started, attempt = time.monotonic(), 1
        while True:
            left = None if call.timeout is None else call.timeout - (time.monotonic() - started)
            try:
                response, done = self._method(method).with_call(
                    part.request, **self._call_arguments(call, left)
                )
            except grpc.RpcError as failed:
                error = self._error(failed, call)
                seconds = self._pause(error, attempt, left)
                if seconds is None:
                    raise error from failed
            except ValueError:  # the channel was closed a moment ago
                if self._closed:
                    raise ClientClosed from None
                raise
            else:
                return response, *trailing(done.trailing_metadata(), call.request_id)
            self._closing.wait(seconds)
            attempt += 1

    def _stream(
        self,
        batches: Batches[Result],
        timeout: Timeout,
        metadata: Mapping[str, str | bytes] | None,
    ) -> Generator[Answer[Result], None, None]:
        """Execute a stream of the caller's batches."""
        return self._answers(batches, self._call(timeout, metadata))

    def _answers(
        self, batches: Batches[Result], call: Call
    ) -> Generator[Answer[Result], None, None]:
        def alone(index: int, part: Part) -> Answer[Result]:
            try:
                response, _, _ = self._send(batches.single, part, call)
            except SemserveError as error:
                return part.failed(index, error)
            return batches.answered(index, part, response)

        def open_call(requests: Iterator[Message]) -> Any:
            return self._method(batches.method)(requests, **self._call_arguments(call, None))

        stream = Stream(batches, Window(batches, self._in_flight, self.retry), alone)
        try:
            explain = partial(self._error, call=call)
            for answer in stream.answers(open_call, call.timeout, explain):
                yield answer.of(call.request_id)
        except SemserveError as error:
            error.request_id = error.request_id or call.request_id
            raise
        except ValueError:  # as above, or what the caller's batches raised
            if self._closed:
                raise ClientClosed from None
            raise

    def _watch(self, service: str, metadata: Mapping[str, str | bytes] | None) -> Iterator[Health]:
        request = health.request(service)
        call = self._call(None, metadata)
        watched = self._method(health.WATCH)(request, **self._call_arguments(call, None))
        try:
            for response in watched:
                yield health.read(request, response)
        except grpc.RpcError as failed:
            raise self._error(failed, call) from failed
        finally:
            watched.cancel()
