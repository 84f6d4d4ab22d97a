"""The texts or pairs of one request, from check to rows: strict, or each with a fate of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

from google.rpc import status_pb2

from semserve_server.auth.key_store import FREE, PRINCIPAL, Charge, Principal
from semserve_server.engine import Engine
from semserve_server.errors import InferenceFailed, InvalidRequest, Violation
from semserve_server.instrumentation.request_context import current
from semserve_server.rpc import encoding as wire
from semserve_server.rpc.handlers import Context
from semserve_server.rpc.reply_room import reply_room
from semserve_server.rpc.status import failure
from semserve_server.runtime.encoding import Encoding
from semserve_server.runtime.tokenizer import Item, Truncation
from semserve_server.scheduling.request import Inference

SCORES_PER_TOKEN = 256
"""Scores that a key is charged for as for one token: of 384 dimensions they take from 0.03 to 0.2
ms of a CPU, and a token of MiniLM 0.1 to 0.2."""
ITEM_BYTES = 64
"""What an item of an answer has beside its numbers, or more."""

_NOTHING = wire.Outcome(None, None, 0, 0)
_FAILED = wire.Outcome(None, failure(InferenceFailed()).status, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a request asks for, with what its checks found."""

    items: Sequence[Item]
    field: str
    """The repeated field that the items stand in, such as `texts`."""
    violations: Mapping[int, Violation]
    """What is wrong with single items, by their place."""
    truncation: Truncation
    allow_partial: bool
    reply_bytes: int
    """What the serialized answer will have, or more."""
    times: Sequence[int] | None = None
    """How often each item stands in the request, where items that recur run once; a key is charged
    for every one."""
    scores: int = 0
    """Scores that are computed from the rows."""
    sides: Sequence[int] | None = None
    """Which encoder reads each item, 0 left or 1 right; None for a model with one encoder."""
    most_weights: int = 0
    """How many weights of each sparse row are wanted; 0 for all."""

    def charge(self, tokens: int) -> int:
        """Return what a key is charged for so many tokens and the scores."""
        return tokens + self.scores // SCORES_PER_TOKEN

    def repeated(self, tokens: int) -> int:
        """Estimate the tokens of all items from those of the different ones."""
        if self.times is None:
            return tokens
        return tokens * sum(self.times) // len(self.times)


@dataclass(frozen=True, slots=True)
class Done:
    """The rows of the good items, and the outcome of every item."""

    inference: Inference | None
    """None where no item was good."""
    outcomes: list[wire.Outcome]
    """One an item, in their order."""

    @property
    def usage(self) -> bytes:
        """The serialized Usage."""
        if self.inference is None:
            return b""
        return wire.usage(self.inference.tokens, self.inference.padded_tokens)

    @property
    def truncated_tokens(self) -> int:
        """Tokens that truncation dropped from all items."""
        return sum(outcome.truncated_tokens for outcome in self.outcomes)


async def run(engine: Engine, work: Work, context: Context) -> Done:
    """Tokenise and infer, and tell the time in the trailers.

    Raises:
        InvalidRequest: an item is bad and the request is strict, or it can never be admitted.
        Overloaded, Draining, DeadlineExceeded, InferenceFailed: as `Engine.infer`.
    """
    request = current()
    request.model = engine.counters
    if work.violations:
        _refuse(work.violations, work)
    principal = PRINCIPAL.get(None)
    caller = _caller(principal, context)
    good = [place for place in range(len(work.items)) if place not in work.violations]
    items = work.items if len(good) == len(work.items) else [work.items[place] for place in good]
    violations = dict(work.violations)
    inference = None
    encodings: list[Encoding] = []
    with _reserve(principal, engine, items, work) as charge:
        await reply_room().enter(work.reply_bytes)
        started = perf_counter()
        if items:
            remaining = context.time_remaining()
            encodings = await engine.encode(
                items, work.truncation, remaining=remaining, caller=caller
            )
            encodings = _marked(encodings, good, work)
        good, encodings = _without_too_long(engine, work, good, encodings, violations)
        tokenized = perf_counter()
        request.tokenized = started, tokenized
        charge.settle(work.charge(_tokens(encodings, good, work)))
        if encodings:
            reply_room().hold(work.reply_bytes)
            inference = await engine.infer(
                encodings,
                timeout=context.time_remaining(),
                partial=work.allow_partial,
                caller=caller,
            )
            request.inference = inference.cost
            _tell_time(context, tokenized - started, inference)
    outcomes = [_NOTHING] * len(work.items)
    inference, rows = _without_failed(inference, len(good))
    for row, place, encoding in zip(rows, good, encodings, strict=True):
        outcomes[place] = (
            _FAILED
            if row is None
            else wire.Outcome(row, None, encoding.tokens, encoding.truncated_tokens)
        )
    for place, violation in violations.items():
        outcomes[place] = wire.Outcome(None, _status(violation), 0, 0)
    return Done(inference, outcomes)


def _marked(encodings: list[Encoding], good: Sequence[int], work: Work) -> list[Encoding]:
    """Let encodings know their side, and how many weights are wanted of them."""
    if work.sides is None and not work.most_weights:
        return encodings
    sides = work.sides or [0] * len(work.items)
    return [
        replace(encoding, side=sides[place], most_weights=work.most_weights)
        for place, encoding in zip(good, encodings, strict=True)
    ]


def _reserve(
    principal: Principal | None, engine: Engine, items: Sequence[Item], work: Work
) -> Charge:
    """Charge the caller's key by an estimate.

    Raises:
        Overloaded: earlier requests of the key are not paid for.
    """
    if principal is None:
        return FREE
    return principal.reserve(work.charge(work.repeated(engine.estimate(items))))


def _tokens(encodings: Sequence[Encoding], good: Sequence[int], work: Work) -> int:
    """Count the tokens of a request, of items that recur as often as they do."""
    if work.times is None:
        return sum(encoding.tokens for encoding in encodings)
    return sum(
        encoding.tokens * work.times[place] for place, encoding in zip(good, encodings, strict=True)
    )


def _without_too_long(
    engine: Engine,
    work: Work,
    good: list[int],
    encodings: list[Encoding],
    violations: dict[int, Violation],
) -> tuple[list[int], list[Encoding]]:
    """Leave out what has more tokens than the model takes, and add it to the violations.

    Raises:
        InvalidRequest: there is such an item and the request is strict.
    """
    limit = engine.tokenizer.max_length
    if not any(encoding.longest > limit for encoding in encodings):
        return good, encodings
    for place, encoding in zip(good, encodings, strict=True):
        if encoding.longest > limit:
            path = f"{work.field}[{place}]"
            violations[place] = Violation(path, f"{encoding.longest} tokens, at most {limit}")
    _refuse(violations, work)
    return (
        [place for place in good if place not in violations],
        [encoding for encoding in encodings if encoding.longest <= limit],
    )


def _caller(principal: Principal | None, context: Context) -> str:
    """Name the caller that runs are shared by: a key, or without keys a connection."""
    return context.peer() if principal is None else principal.name


def _without_failed(
    inference: Inference | None, size: int
) -> tuple[Inference | None, Sequence[int | None]]:
    """Leave out the rows of encodings that have failed; tell each encoding's row, if it has one."""
    if inference is None or not inference.failed:
        return inference, range(size)
    kept = [number for number in range(size) if number not in inference.failed]
    rows: list[int | None] = [None] * size
    for row, number in enumerate(kept):
        rows[number] = row
    sparse = {row: inference.sparse[place] for row, place in enumerate(kept) if inference.sparse}
    return replace(inference, rows=inference.rows[kept], sparse=sparse), rows


def _refuse(violations: Mapping[int, Violation], work: Work) -> None:
    """Fail the request for its bad items, unless it takes them in parts."""
    if violations and not work.allow_partial:
        raise InvalidRequest(*(violations[place] for place in sorted(violations)))


def _status(violation: Violation) -> status_pb2.Status:
    return failure(InvalidRequest(violation)).status


def _tell_time(context: Context, tokenize_seconds: float, inference: Inference) -> None:
    """Set the trailer `server-timing`, in milliseconds as W3C Server-Timing has them.

    On a stream the last message's times stay, since trailers are sent once.
    """
    queue, compute = inference.queue_seconds * 1e3, inference.compute_seconds * 1e3
    timing = f"queue;dur={queue:.3f}, tokenize;dur={tokenize_seconds * 1e3:.3f}, "
    timing += f"compute;dur={compute:.3f}"
    context.set_trailing_metadata((("server-timing", timing), current().metadata.trailer))
