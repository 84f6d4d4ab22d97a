"""The measurements of a session at the start, and how they are made."""

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
"""Most tokens of the measured entries: a long question, or a short sentence pair."""
RAGGED = (64, 8, 8, 8, 8, 8, 8, 8)
"""Tokens of the entries that measure the cost of padding: three quarters of the batch are
padding."""
SMALLEST_BUDGET = 256
"""Smaller batches leave too few entries of similar length to choose from."""
SMALLEST_ENTRIES = 8
"""Entries of the smallest batch, if every entry is padded to more than `ENTRY_TOKENS`."""
LARGEST_BUDGET = 32_768
MIN_AGREEING = 3
"""Number of tries of a batch that must agree with the least time. A disturbance can only
lengthen a run, so the least time is right once several tries have reached it."""
AGREEMENT = 1.03
"""A try agrees with the least time if it takes at most this many times as long."""
AGREEMENT_SECONDS = 0.000_01
"""A try also agrees if it takes at most this much longer: clocks and wake-ups are not more
exact."""
MAX_STARTS = 3
"""Number of starts whose measurements are merged if none converges; then the least times are
used."""
MAX_ROUNDS = 60
"""Most tries of one batch."""
MAX_SECONDS = 2.0
"""Time limit for trying batches in turns. After it, each batch gets only `MIN_AGREEING` tries in
all: a machine that is always busy must not prevent the start of a server."""

MAX_SIZES = 16
"""Most batch sizes: there are 10 from a single entry to the largest batch."""

Seconds = Annotated[float, Meta(ge=0, le=3600)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]


class Measurements(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The least time of each batch.

    All fields have bounds, because they are also read from a file.
    """

    runs: Annotated[list[tuple[Count, Seconds]], Meta(min_length=3, max_length=MAX_SIZES)]
    """(tokens, seconds) of batches without padding, by size; the first is a single entry."""
    ragged: tuple[Count, Count, Seconds]
    """(tokens, padded tokens, seconds) of the batch with much padding."""
    exclusive_seconds: Seconds | None
    """Time of the single entry with all threads. None if such a run has no more threads than
    others, or if the machine was too busy to measure it."""
    shared_seconds: Seconds | None
    """Time of the single entry with a worker's threads, by the same wall clock; None as above."""
    converged: bool
    """Whether enough tries of each batch agreed, or enough starts have measured."""
    starts: Count = 1
    """Number of starts that have measured."""

    def merged(self, former: Measurements) -> Measurements:
        """Return the least times of both. They have converged if either had, or if both agree."""
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
            runs=sorted(least.items())[:MAX_SIZES],
            ragged=ragged,
            exclusive_seconds=exclusive,
            shared_seconds=shared,
            converged=self.converged or former.converged or agree or starts >= MAX_STARTS,
            starts=min(starts, MAX_STARTS),
        )


def measure(
    session: Runner,
    *,
    max_length: int,
    exclusive: bool,
    budget: Callable[[Sequence[tuple[int, float]]], int],
    blank: Callable[[int], Encoding] | None = None,
    clock: Callable[[], float] = time.perf_counter,
    wall: Callable[[], float] | None = None,
) -> Measurements:
    """Run batches of growing size while larger batches pay.

    The batches run in turns, so that a temporary slowdown of the machine affects all of them, and
    they are repeated until the tries agree.

    Args:
        session: warmed up, so that only runs are measured.
        max_length: most tokens of an entry.
        exclusive: whether a single run may use more threads; then that is measured too.
        budget: returns the best size for the (tokens, seconds) measured so far. If that is the
            largest measured size, a larger one is measured.
        blank: makes an encoding with a number of tokens, in the model's format; `blank_encoding` if
            not given.
        clock: measures a run, in seconds. For runs of one thread, that thread's CPU time is right
            however busy the machine is.
        wall: a wall clock, in seconds; `clock` if not given.
    """
    wall = wall or clock
    blank = blank or blank_encoding
    entry = blank(min(ENTRY_TOKENS, max_length))
    # If every entry is padded to many tokens, the smallest batch must be larger to contain several.
    smallest = max(SMALLEST_BUDGET, min(SMALLEST_ENTRIES * len(entry), LARGEST_BUDGET))

    def batch_of(tokens: int) -> _Batch:
        return _Batch([entry] * max(tokens // len(entry), 1), clock)

    batches = [batch_of(n) for n in (1, smallest // 2, smallest, 2 * smallest)]
    ragged = _Batch([blank(min(one, max_length)) for one in RAGGED], clock)
    lone = (
        [_Batch(batches[0].encodings, wall, exclusive=one) for one in (False, True)]
        if exclusive
        else []
    )
    converged = _try_until_converged(session, [*batches, ragged, *lone], wall)
    reliable = exclusive and all(one.converged for one in lone)
    runs = [one.run for one in batches]
    size = 2 * smallest
    while size < LARGEST_BUDGET and budget(runs) == size:
        former, batch = batch_of(size), batch_of(2 * size)
        converged &= _try_until_converged(session, [former, batch], wall)
        # The machine may be slower or faster now than when the smaller batch was measured first.
        runs.append((batch.run[0], batch.least * _ratio(runs[-1][1], former.least)))
        size *= 2
    lengths = [len(one) for one in ragged.encodings]
    return Measurements(
        runs=runs,
        ragged=(sum(lengths), len(lengths) * max(lengths), ragged.least),
        shared_seconds=lone[0].least if reliable else None,
        exclusive_seconds=lone[1].least if reliable else None,
        converged=converged,
    )


@dataclass(slots=True)
class _Batch:
    """A batch, and the time of each try."""

    encodings: list[Encoding]
    clock: Callable[[], float]
    """Measures a try, in seconds."""
    exclusive: bool = False
    tries: list[float] = field(default_factory=list)

    @property
    def least(self) -> float:
        return min(self.tries)

    @property
    def run(self) -> tuple[int, float]:
        return sum(map(len, self.encodings)), self.least

    @property
    def converged(self) -> bool:
        least = min(self.tries, default=inf)
        return sum(_agree(one, least) for one in self.tries) >= MIN_AGREEING


def _try_until_converged(
    session: Runner, batches: Sequence[_Batch], wall: Callable[[], float]
) -> bool:
    """Run batches in turns until the least time of each has converged. Return whether all have.

    Args:
        session: runs the batches.
        batches: the batches to try.
        wall: a clock, in seconds.
    """
    until = wall() + MAX_SECONDS
    for rounds in range(MAX_ROUNDS):
        if rounds >= MIN_AGREEING and (all(one.converged for one in batches) or wall() >= until):
            break
        for one in batches:
            started = one.clock()
            session.run(one.encodings, exclusive=one.exclusive)
            one.tries.append(max(one.clock() - started, 0.0))
    return all(one.converged for one in batches)


def _agree(one: float, least: float) -> bool:
    return one <= max(least * AGREEMENT, least + AGREEMENT_SECONDS)


def _ratio(one: float, other: float) -> float:
    """Divide times. If the clock stands still, the ratio is 1."""
    return one / other if other > 0 else 1.0


def blank_encoding(length: int) -> Encoding:
    """Create an encoding with `length` tokens, for a model with one input sequence."""
    return Encoding([0] * length, [0] * length)
