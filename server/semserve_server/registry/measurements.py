"""What was measured of a session at the start, and how it is measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Annotated

from msgspec import Meta, Struct

from semserve_server.runtime.encoding import Encoding
from semserve_server.runtime.runner import Runner

ENTRY_TOKENS = 32
"""Most tokens of the measured entries: a long question, a short sentence pair."""
RAGGED = (64, 8, 8, 8, 8, 8, 8, 8)
"""Tokens of the entries that show what padding costs: three quarters of that batch are padding."""
SMALLEST_BUDGET = 256
"""Batches below it leave too few entries of like length to choose among."""
LARGEST_BUDGET = 32_768
AGREEING = 3
"""So many tries of a batch must agree on the least time for it to be believed. What disturbs a run
only lengthens it, so the least is the truth, once it has come more than once."""
AGREEMENT = 1.03
"""How many times the least time a try may take that agrees with it."""
AGREEMENT_SECONDS = 0.000_01
"""How much longer it may take in any case: clocks and wake-ups are no more exact."""
MOST_STARTS = 3
"""Starts whose measurements are merged, where tries of none agree; then the least has to do."""
MOST_ROUNDS = 60
"""Most tries of one batch."""
MOST_SECONDS = 2.0
"""Of trying some batches in turns, after which each has only `AGREEING` tries in all: a machine
that is busy all the time must not keep a server from starting."""

MOST_SIZES = 16
"""Most sizes of batches: from a lone entry to the largest budget there are 10."""

Seconds = Annotated[float, Meta(ge=0, le=3600)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]


class Measurements(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The least seconds of each batch; bounded, since it is also read from a file."""

    runs: Annotated[list[tuple[Count, Seconds]], Meta(min_length=3, max_length=MOST_SIZES)]
    """(tokens, seconds) of batches without padding, by size: the first is a lone entry."""
    ragged: tuple[Count, Count, Seconds]
    """(tokens, padded tokens, seconds) of the batch with much padding."""
    exclusive_seconds: Seconds | None
    """Of the lone entry with all threads; None where a lone run has no more than others, or
    where the machine was too busy to tell."""
    shared_seconds: Seconds | None
    """Of the lone entry without them, by the same clock on the wall; None as above."""
    settled: bool
    """Whether enough tries of each batch agreed, or enough starts have measured."""
    starts: Count = 1
    """How many starts have measured."""

    def merged(self, former: Measurements) -> Measurements:
        """Return the least of both; settled where either is, or where both agree."""
        least = dict(former.runs)
        both = [(seconds, least[tokens]) for tokens, seconds in self.runs if tokens in least]
        for tokens, seconds in self.runs:
            least[tokens] = min(seconds, least.get(tokens, inf))
        ragged, exclusive, shared = self.ragged, self.exclusive_seconds, self.shared_seconds
        if ragged[:2] == former.ragged[:2]:
            both.append((ragged[2], former.ragged[2]))
            ragged = min(ragged, former.ragged)
        if exclusive is not None and former.exclusive_seconds is not None:
            both.append((exclusive, former.exclusive_seconds))
            exclusive = min(both[-1])
        if shared is not None and former.shared_seconds is not None:
            both.append((shared, former.shared_seconds))
            shared = min(both[-1])
        agree = all(_agree(max(pair), min(pair)) for pair in both)
        starts = self.starts + former.starts
        return Measurements(
            runs=sorted(least.items())[:MOST_SIZES],
            ragged=ragged,
            exclusive_seconds=exclusive,
            shared_seconds=shared,
            settled=self.settled or former.settled or agree or starts >= MOST_STARTS,
            starts=min(starts, MOST_STARTS),
        )


def measure(
    session: Runner,
    *,
    max_length: int,
    exclusive: bool,
    budget: Callable[[Sequence[tuple[int, float]]], int],
    clock: Callable[[], float] = time.perf_counter,
    wall: Callable[[], float] | None = None,
) -> Measurements:
    """Run batches of growing size until the growth no longer pays.

    The batches are tried in turns, so that what slows the machine for a while slows all of them,
    and again until tries agree.

    Args:
        session: warm already, so that nothing is measured but runs.
        max_length: most tokens of an entry.
        exclusive: whether a lone run may have more threads, which is measured then.
        budget: the best one by the (tokens, seconds) measured so far; where it is the largest of
            them, a larger one is measured.
        clock: tells what a run takes, in seconds. Where a run is of one thread, that thread's CPU
            time tells it however busy the machine is.
        wall: a clock on the wall, in seconds; `clock` where not given.
    """
    wall = wall or clock
    length = min(ENTRY_TOKENS, max_length)

    def batch_of(tokens: int) -> _Batch:
        return _Batch([_blank(length)] * max(tokens // length, 1), clock)

    batches = [batch_of(n) for n in (1, SMALLEST_BUDGET // 2, SMALLEST_BUDGET, 2 * SMALLEST_BUDGET)]
    ragged = _Batch([_blank(min(one, max_length)) for one in RAGGED], clock)
    lone = (
        [_Batch(batches[0].encodings, wall, exclusive=one) for one in (False, True)]
        if exclusive
        else []
    )
    settled = _settle(session, [*batches, ragged, *lone], wall)
    believed = exclusive and all(one.settled for one in lone)
    runs = [one.run for one in batches]
    size = 2 * SMALLEST_BUDGET
    while size < LARGEST_BUDGET and budget(runs) == size:
        former, batch = batch_of(size), batch_of(2 * size)
        settled &= _settle(session, [former, batch], wall)
        # The machine may be slower or faster now than when the former was measured first.
        runs.append((batch.run[0], batch.least * _ratio(runs[-1][1], former.least)))
        size *= 2
    lengths = [len(one) for one in ragged.encodings]
    return Measurements(
        runs=runs,
        ragged=(sum(lengths), len(lengths) * max(lengths), ragged.least),
        shared_seconds=lone[0].least if believed else None,
        exclusive_seconds=lone[1].least if believed else None,
        settled=settled,
    )


@dataclass(slots=True)
class _Batch:
    """A batch, and the seconds of each try."""

    encodings: list[Encoding]
    clock: Callable[[], float]
    """Tells how long a try takes, in seconds."""
    exclusive: bool = False
    tries: list[float] = field(default_factory=list)

    @property
    def least(self) -> float:
        return min(self.tries)

    @property
    def run(self) -> tuple[int, float]:
        return sum(map(len, self.encodings)), self.least

    @property
    def settled(self) -> bool:
        least = min(self.tries, default=inf)
        return sum(_agree(one, least) for one in self.tries) >= AGREEING


def _settle(session: Runner, batches: Sequence[_Batch], wall: Callable[[], float]) -> bool:
    """Try batches in turns until the least time of each is believed; tell whether it came to that.

    Args:
        session: what runs them.
        batches: to try.
        wall: a clock, in seconds.
    """
    until = wall() + MOST_SECONDS
    for rounds in range(MOST_ROUNDS):
        if rounds >= AGREEING and (all(one.settled for one in batches) or wall() >= until):
            break
        for one in batches:
            started = one.clock()
            session.run(one.encodings, exclusive=one.exclusive)
            one.tries.append(max(one.clock() - started, 0.0))
    return all(one.settled for one in batches)


def _agree(one: float, least: float) -> bool:
    return one <= max(least * AGREEMENT, least + AGREEMENT_SECONDS)


def _ratio(one: float, other: float) -> float:
    """Divide times; a clock that stands still says that they are alike."""
    return one / other if other > 0 else 1.0


def _blank(length: int) -> Encoding:
    return Encoding([0] * length, [0] * length)
