"""The thread that computes scores: who may wait for it, in turns, and who stops."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator

import pytest
from semserve_server.errors import DeadlineExceeded, Draining, Overloaded
from semserve_server.scheduling.worker import NICENESS
from semserve_server.services.scoring_thread import INLINE_OPERATIONS, ScoringThread

LARGE = INLINE_OPERATIONS + 1


class Pieces:
    """Pieces of work that can be held."""

    def __init__(self, name: str, size: int, order: list[str]) -> None:
        self.name = name
        self.size = size
        self.order = order
        self.begun = threading.Semaphore(0)
        self.may = threading.Semaphore(0)

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(self.size):
            self.begun.release()
            assert self.may.acquire(timeout=30)
            self.order.append(self.name)
            yield self.name.encode()

    def allow(self, pieces: int) -> None:
        self.may.release(pieces)


async def answer(scorer: ScoringThread, pieces: Iterator[bytes], scores: int = LARGE) -> bytes:
    with scorer.room(scores, LARGE, seconds=None):
        return await scorer.compute(pieces, operations=LARGE, seconds=None)


def compute(scorer: ScoringThread, pieces: Pieces, scores: int = LARGE) -> asyncio.Task[bytes]:
    return asyncio.create_task(answer(scorer, iter(pieces), scores))


def take(scorer: ScoringThread, scores: int, seconds: float | None) -> None:
    """Take room and give it back."""
    with scorer.room(scores, LARGE, seconds=seconds):
        pass


async def begin(pieces: Pieces) -> None:
    assert await asyncio.to_thread(pieces.begun.acquire, timeout=30)


@pytest.fixture
def scorer() -> Iterator[ScoringThread]:
    """A scorer whose turns end after each piece."""
    one = ScoringThread(max_waiting=10 * LARGE, turn=0)
    yield one
    one.close()


async def test_an_answer_is_all_of_its_pieces_in_their_order(scorer: ScoringThread) -> None:
    pieces = iter([b"a", b"b", b"c"])
    assert b"abc" == await answer(scorer, pieces)
    assert 0 == scorer.waiting


async def test_requests_take_turns(scorer: ScoringThread) -> None:
    order: list[str] = []
    long, short = Pieces("l", 5, order), Pieces("s", 1, order)
    first = compute(scorer, long)
    await begin(long)
    second = compute(scorer, short)
    await asyncio.sleep(0)
    long.allow(5)
    short.allow(1)
    assert b"s" == await second
    assert not first.done()
    assert b"lllll" == await first
    assert order.index("s") < 3


async def test_what_nobody_waits_for_stops_after_its_turn(scorer: ScoringThread) -> None:
    order: list[str] = []
    pieces = Pieces("x", 100, order)
    job = compute(scorer, pieces)
    await begin(pieces)
    job.cancel()
    pieces.allow(100)
    with pytest.raises(asyncio.CancelledError):
        await job
    assert 0 == scorer.waiting
    next_one = Pieces("n", 1, order)
    next_one.allow(1)
    assert b"n" == await compute(scorer, next_one)  # after what was left of the first one
    assert 1 == order.count("x")


async def test_what_is_late_stops() -> None:
    """Each piece takes ten seconds by this clock, and the caller waits for fifteen."""
    now = 0.0

    def pieces() -> Iterator[bytes]:
        nonlocal now
        for _ in range(100):
            now += 10
            yield b"x"

    scorer = ScoringThread(max_waiting=10, turn=1, clock=lambda: now)
    with pytest.raises(DeadlineExceeded):
        await scorer.compute(pieces(), operations=LARGE, seconds=15)
    assert 20 == now
    scorer.close()


async def test_scores_past_the_bound_are_refused_and_told_when_to_return(
    scorer: ScoringThread,
) -> None:
    pieces = Pieces("x", 1, [])
    first = compute(scorer, pieces, scores=9 * LARGE)
    await begin(pieces)
    with pytest.raises(Overloaded, match="no room") as refused:
        take(scorer, 2 * LARGE, None)
    assert "queue_scores" == refused.value.cause
    assert refused.value.retry_after > 0
    take(scorer, LARGE, None)
    with pytest.raises(Overloaded) as late:
        take(scorer, 1, 0.0)
    assert "deadline" == late.value.cause
    pieces.allow(1)
    assert b"x" == await first


async def test_a_request_over_the_bound_is_computed_where_nothing_waits(
    scorer: ScoringThread,
) -> None:
    pieces = Pieces("x", 1, [])
    pieces.allow(1)
    assert b"x" == await compute(scorer, pieces, scores=11 * LARGE)


async def test_few_scores_need_no_thread(scorer: ScoringThread) -> None:
    threads: list[int] = []

    def pieces() -> Iterator[bytes]:
        threads.append(threading.get_ident())
        yield b"x"

    assert b"x" == await scorer.compute(pieces(), operations=1, seconds=None)
    assert [threading.get_ident()] == threads


async def test_the_thread_has_the_niceness_of_a_batch_worker(scorer: ScoringThread) -> None:
    def pieces() -> Iterator[bytes]:
        mine = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        yield str(mine).encode()

    reported = await answer(scorer, pieces())
    assert min(os.getpriority(os.PRIO_PROCESS, 0) + NICENESS, 19) == int(reported)


async def test_an_error_in_a_piece_is_its_callers_and_leaves_nothing(scorer: ScoringThread) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"x"
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await answer(scorer, pieces())
    assert 0 == scorer.waiting


async def test_a_scorer_that_is_closed_takes_nothing(scorer: ScoringThread) -> None:
    scorer.close()
    with pytest.raises(Draining):
        await answer(scorer, iter([b"x"]))
    assert 0 == scorer.waiting
