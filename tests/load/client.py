"""The client process: asks as a load says, and notes when each answer came.

It runs in a process of its own, so that its work delays nothing but itself. Requests are bytes
before the clock starts and answers stay bytes: parsing them would cost more than gRPC does. Of the
ways that grpcio offers, grpc.aio costs least: 80 to 115 us of CPU a message on a stream and 130 to
210 a unary call, where threads and futures take 90 to 140 and 130 to 260.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import re
import time
from array import array
from collections.abc import AsyncIterator, Awaitable, Iterator

import grpc
import numpy as np
from semserve.transport.stream_status import StreamStatus

from load.load import Load
from load.process import group_cpu_seconds
from load.record import HELD_BACK, OK, UNFINISHED, WRONG, LoadError, Record
from load.restraint import Restraint
from load.wire import field

CONNECT_SECONDS = 30.0
MAX_DRAIN_SECONDS = 20.0
"""How long the answers to what the window began are awaited."""
TIMING_SAMPLE = 16
"""Of so many unary calls of one text one reads the server's own times; larger ones all do."""
ID_BYTES = 10
"""Tag, length and eight digits of a stream message's id."""
ANSWER_TAG = 0x12
"""Tag of the field `response` of a stream's answer; `error` has another."""
DURATION = re.compile(r"(\w+);dur=([\d.]+)")


def drive(load: Load) -> Record:
    """Run a load to its end; blocks for warm-up, window and the last answers.

    Raises:
        LoadError: there was no connection, or a whole stream failed.
    """
    try:
        return _runner().run(_Client(load).run())
    except (TimeoutError, grpc.aio.AioRpcError, ExceptionGroup) as error:
        # What gRPC raises does not pass from process to process.
        raise LoadError(f"{load.method}, {load.shape}: {error!r}") from None


@functools.cache
def _runner() -> asyncio.Runner:
    """Make the event loop of every run of this process, which lives as long as it.

    gRPC tells of the end of a call that was cancelled some time later, to whichever loop turns
    then, and what it owes to a loop that is closed keeps it from telling that one the rest.
    """
    return asyncio.Runner()


class _Client:
    def __init__(self, load: Load) -> None:
        self._load = load
        self._numbers = itertools.count()
        self._begun = array("d")
        self._ended = array("d")
        self._status = array("h")
        self._timing: list[tuple[float, ...]] = []
        self._cpu: list[tuple[float, float]] = []
        self._window_over = asyncio.Event()

    async def run(self) -> Record:
        channels = [_channel(self._load.address, number) for number in self._connections()]
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await asyncio.gather(*(channel.channel_ready() for channel in channels))
            self._open = time.perf_counter() + self._load.warm_up
            self._close = self._open + self._load.seconds
            await self._run(channels)
        finally:
            await asyncio.gather(*(channel.close() for channel in channels))
            await _end_others()
        return self._record()

    def _connections(self) -> range:
        return range(max(self._load.connections, 1))

    async def _run(self, channels: list[grpc.aio.Channel]) -> None:
        """Start all parts, wait for the window's end, then for what it began."""
        loop = asyncio.get_running_loop()
        end = self._load.warm_up + self._load.seconds
        loop.call_later(self._load.warm_up, self._note_cpu)
        loop.call_later(end, self._note_cpu)
        loop.call_later(end, self._window_over.set)
        parts = [asyncio.ensure_future(part) for part in self._parts(channels)]
        done, pending = await asyncio.wait(
            parts, timeout=end + self._drain_seconds(), return_when=asyncio.FIRST_EXCEPTION
        )
        for part in pending:
            part.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        for part in done:
            part.result()
        await self._window_over.wait()

    def _drain_seconds(self) -> float:
        """A closed loop of single texts counts ends only, so nothing later matters to it."""
        if self._load.rate or self._load.texts_per_request > 1:
            return MAX_DRAIN_SECONDS
        return 0.05

    def _parts(self, channels: list[grpc.aio.Channel]) -> Iterator[Awaitable[None]]:
        load = self._load
        if load.streams:
            for number in range(load.streams):
                yield self._stream(channels[number % len(channels)], number)
            return
        calls = [channel.unary_unary(load.method) for channel in channels]
        if load.rate:
            yield self._arrivals(calls)
        else:
            for number in range(load.callers):
                yield self._caller(calls[number % len(calls)])

    # ---- unary ------------------------------------------------------------------------------

    async def _caller(self, call: grpc.aio.UnaryUnaryMultiCallable) -> None:
        """One caller of a closed loop."""
        while (now := time.perf_counter()) < self._close:
            await self._ask(call, self._begin(now))

    async def _arrivals(self, calls: list[grpc.aio.UnaryUnaryMultiCallable]) -> None:
        """Ask whenever a request is due, whatever became of those before it."""
        request = set()
        callers = [Restraint() for _ in range(self._load.obedient_callers)]
        for due in self._due(self._load.rate, seed=0):
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            number = self._begin(due)
            caller = callers[number % len(callers)] if callers else None
            if caller and caller.holds():
                self._end(number, HELD_BACK)
                continue
            task = asyncio.create_task(self._ask(calls[number % len(calls)], number, caller))
            request.add(task)
            task.add_done_callback(request.discard)
        if request:
            await asyncio.wait(request)

    def _due(self, rate: float, seed: int) -> Iterator[float]:
        """Yield the instants of a Poisson process until the window closes."""
        draw = np.random.default_rng(seed)
        due = self._open - self._load.warm_up
        while (due := due + draw.exponential(1 / rate)) < self._close:
            yield due

    async def _ask(
        self,
        call: grpc.aio.UnaryUnaryMultiCallable,
        number: int,
        caller: Restraint | None = None,
    ) -> None:
        """Make one unary call and note its end."""
        load = self._load
        timeout = max(self._begun[number] + load.timeout - time.perf_counter(), 0.001)
        running = call(load.requests[number % len(load.requests)], timeout=timeout)
        try:
            answer = await running
        except grpc.aio.AioRpcError as error:
            self._end(number, error.code().value[0])
            if caller:
                caller.note(error)
            return
        self._end(number, OK if len(answer) >= load.answer_bytes else WRONG)
        sampled = load.texts_per_request > 1 or number % TIMING_SAMPLE == 0
        if sampled and self._begun[number] > self._open:
            self._sample(number, await running.trailing_metadata())

    def _sample(self, number: int, trailers: grpc.aio.Metadata) -> None:
        """Keep the server's own times of a call beside the client's."""
        times = dict(DURATION.findall(str(trailers.get("server-timing", ""))))
        if times:
            latency = (self._ended[number] - self._begun[number]) * 1e3
            parts = (float(times.get(name, 0)) for name in ("queue", "tokenize", "compute"))
            self._timing.append((latency, *parts))

    # ---- streams ----------------------------------------------------------------------------

    async def _stream(self, channel: grpc.aio.Channel, number: int) -> None:
        """One stream: a writer that asks, and a reader that matches answers by their id."""
        stream = channel.stream_stream(self._load.method)()
        slots = asyncio.Semaphore(max(self._load.callers // self._load.streams, 1))
        ending = StreamStatus(stream)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._write(stream, slots, number))
                tasks.create_task(self._read(stream, slots))
        except* grpc.aio.AioRpcError as errors:
            # A write that the end of the call overtakes hides the status that the server sent.
            raise await ending.wait(_first(errors)) from None

    async def _write(
        self, stream: grpc.aio.StreamStreamCall, slots: asyncio.Semaphore, seed: int
    ) -> None:
        bodies = [field(2, one) for one in self._load.requests]
        async for due in self._turns(slots, seed):
            number = self._begin(due)
            await stream.write(b"\n\x08%08d" % number + bodies[number % len(bodies)])
        await stream.done_writing()

    async def _turns(self, slots: asyncio.Semaphore, seed: int) -> AsyncIterator[float]:
        """Yield the instant of each message: when it is due, or when a slot is free."""
        if self._load.rate:
            for due in self._due(self._load.rate / self._load.streams, seed):
                if (wait := due - time.perf_counter()) > 0:
                    await asyncio.sleep(wait)
                yield due
            return
        while True:
            await slots.acquire()
            if (now := time.perf_counter()) >= self._close:
                return
            yield now

    async def _read(self, stream: grpc.aio.StreamStreamCall, slots: asyncio.Semaphore) -> None:
        while (answer := await stream.read()) is not grpc.aio.EOF:
            whole = len(answer) >= self._load.answer_bytes and answer[ID_BYTES] == ANSWER_TAG
            self._end(int(answer[2:ID_BYTES]), OK if whole else WRONG)
            slots.release()

    # ---- notes ------------------------------------------------------------------------------

    def _begin(self, instant: float) -> int:
        """Note a request, and give it its number."""
        self._begun.append(instant)
        self._ended.append(float("nan"))
        self._status.append(UNFINISHED)
        return next(self._numbers)

    def _end(self, number: int, status: int) -> None:
        self._ended[number] = time.perf_counter()
        self._status[number] = status

    def _note_cpu(self) -> None:
        self._cpu.append((time.process_time(), group_cpu_seconds(self._load.group)))

    def _record(self) -> Record:
        (client_before, server_before), (client_after, server_after) = self._cpu
        return Record(
            load=self._load,
            begun=np.array(self._begun) - self._open,
            ended=np.array(self._ended) - self._open,
            status=np.array(self._status, np.int16),
            timing=np.array(self._timing).reshape(-1, 4),
            client_cpu=client_after - client_before,
            server_cpu=server_after - server_before,
        )


def _first(errors: BaseExceptionGroup[grpc.aio.AioRpcError]) -> grpc.aio.AioRpcError:
    """Return the first error of a group that may hold groups."""
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


async def _end_others() -> None:
    """End what still runs on the loop, so that nothing of it reaches into the next run."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def _channel(address: str, number: int) -> grpc.aio.Channel:
    """Open a connection; channels whose options differ do not share one."""
    return grpc.aio.insecure_channel(
        address, options=[("grpc.max_receive_message_length", -1), ("semserve.connection", number)]
    )
