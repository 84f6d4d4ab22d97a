"""Executes the texts or pairs of one request: from validated items to rows, in named steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from time import perf_counter

from semserve_server.auth.key_store import FREE, PRINCIPAL, Charge
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
"""Number of scores that cost a key one token: with 384 dimensions they take 0.03 to 0.2 ms of a
CPU, and a token of MiniLM takes 0.1 to 0.2 ms."""
ITEM_BYTES = 64
"""Upper bound of the bytes of an item in a reply, besides its numbers."""

LONGEST = attrgetter("longest")
_NO_RESULT = wire.ItemResult(None, None, 0, 0)
_FAILED = wire.ItemResult(None, failure(InferenceFailed()).status, 0, 0)


@dataclass(slots=True, kw_only=True)
class InferenceRequest:
    """The items of a request, and the violations that validation found."""

    items: Sequence[Item]
    field: str
    """The repeated field that contains the items, such as `texts`."""
    violations: Mapping[int, Violation]
    """The violations of single items, by index."""
    truncation: Truncation
    allow_partial: bool
    """Whether the good items get a result if others fail."""
    reply_bytes: int
    """Upper bound of the bytes of the serialized reply."""
    repeats: Sequence[int] | None = None
    """How often the request contains each item, if repeated items run once. A key is charged for
    every repeat."""
    scores: int = 0
    """Number of scores that are computed from the rows."""
    sides: Sequence[int] | None = None
    """Encoder of each item, 0 left or 1 right; None for a model with one encoder."""
    most_weights: int = 0
    """Number of the largest weights to keep of each sparse row; 0 for all."""

    def charge(self, tokens: int) -> int:
        """Return the cost of `tokens` and of the scores, in tokens."""
        return tokens + self.scores // SCORES_PER_TOKEN

    def with_repeats(self, tokens: int) -> int:
        """Estimate the tokens of all items from the tokens of the unique ones."""
        if self.repeats is None:
            return tokens
        return tokens * sum(self.repeats) // len(self.repeats)


@dataclass(slots=True)
class InferenceResult:
    """The rows of the good items, and the result of every item."""

    inference: Inference | None
    """None if no item was good."""
    items: list[wire.ItemResult]
    """One for each item, in the order of the request."""

    @property
    def usage(self) -> bytes:
        """The serialized Usage."""
        if self.inference is None:
            return b""
        return wire.usage(self.inference.tokens, self.inference.padded_tokens)

    @property
    def truncated_tokens(self) -> int:
        """Tokens that truncation dropped from all items."""
        return sum(item.truncated_tokens for item in self.items)


async def execute(engine: Engine, request: InferenceRequest, context: Context) -> InferenceResult:
    """Tokenise and run the items of a request.

    Raises:
        InvalidRequest: an item is invalid and the request does not allow partial results, or the
            request can never be admitted.
        Overloaded, Draining, DeadlineExceeded, InferenceFailed: as `Engine.infer`.
    """
    execution = _Execution(engine, request, context)
    execution.refuse_violations()
    with execution.reserve() as charge:
        await execution.enter()
        await execution.tokenize()
        if charge is not FREE:
            charge.settle(execution.cost())
        await execution.infer()
    return execution.result()


class _Execution:
    """The state of one request between the steps of `execute`."""

    __slots__ = (
        "_caller", "_context", "_encodings", "_engine", "_inference", "_places", "_principal",
        "_request", "_request_context", "_room", "_violations",
    )  # fmt: skip

    def __init__(self, engine: Engine, request: InferenceRequest, context: Context) -> None:
        self._engine = engine
        self._request = request
        self._context = context
        self._request_context = current()
        self._request_context.model = engine.counters
        self._room = reply_room()
        self._principal = PRINCIPAL.get(None)
        # Callers share the runs by key, or without keys by connection.
        self._caller = self._room.connection if self._principal is None else self._principal.name
        self._violations = dict(request.violations)
        self._places: Sequence[int] = range(len(request.items))
        """Indices of the items that have no violation so far."""
        if self._violations:
            self._places = [at for at in self._places if at not in self._violations]
        self._encodings: list[Encoding] = []
        """The encodings of these items."""
        self._inference: Inference | None = None

    def refuse_violations(self) -> None:
        """Refuse the request if an item is invalid and partial results are not allowed.

        Raises:
            InvalidRequest: names every invalid item.
        """
        if self._violations and not self._request.allow_partial:
            raise InvalidRequest(*(self._violations[at] for at in sorted(self._violations)))

    def reserve(self) -> Charge:
        """Charge the caller's key for the request, by an estimate.

        Raises:
            Overloaded: the key is in debt for earlier requests.
        """
        if self._principal is None:
            return FREE
        tokens = self._request.with_repeats(self._engine.estimate(self._items()))
        return self._principal.reserve(self._request.charge(tokens))

    async def enter(self) -> None:
        """Wait for room for the reply, or refuse the request, as `ReplyRoom.enter`."""
        await self._room.enter(self._request.reply_bytes)

    async def tokenize(self) -> None:
        """Tokenise the items, and drop those that are too long for the model.

        Raises:
            InvalidRequest: an item is too long and partial results are not allowed.
            Overloaded: as `Engine.encode`.
        """
        started = perf_counter()
        if self._places:
            encodings = await self._engine.encode(
                self._items(),
                self._request.truncation,
                remaining=self._context.time_remaining(),
                caller=self._caller,
            )
            self._encodings = self._with_options(encodings)
            self._drop_too_long()
        self._request_context.tokenized = started, perf_counter()

    def cost(self) -> int:
        """Return the cost of the request in tokens, including repeated items and scores."""
        repeats = self._request.repeats
        tokens = (
            sum(encoding.tokens for encoding in self._encodings)
            if repeats is None
            else sum(
                encoding.tokens * repeats[at]
                for at, encoding in zip(self._places, self._encodings, strict=True)
            )
        )
        return self._request.charge(tokens)

    async def infer(self) -> None:
        """Run the encodings, and set the trailer `server-timing`.

        Raises:
            Overloaded, Draining, DeadlineExceeded, InferenceFailed: as `Engine.infer`.
        """
        if not self._encodings:
            return
        await self._room.hold(self._request.reply_bytes)
        self._inference = await self._engine.infer(
            self._encodings,
            timeout=self._context.time_remaining(),
            partial=self._request.allow_partial,
            caller=self._caller,
            alone=self._request_context.is_alone(),
        )
        self._request_context.inference = self._inference.cost
        self._set_server_timing(self._inference)

    def result(self) -> InferenceResult:
        """Return the rows, and the result of each item: a row, a violation or a failure."""
        items = [_NO_RESULT] * len(self._request.items)
        inference, rows = _without_failed(self._inference, len(self._places))
        for row, at, encoding in zip(rows, self._places, self._encodings, strict=True):
            items[at] = (
                _FAILED
                if row is None
                else wire.ItemResult(row, None, encoding.tokens, encoding.truncated_tokens)
            )
        for at, violation in self._violations.items():
            items[at] = wire.ItemResult(None, failure(InvalidRequest(violation)).status, 0, 0)
        return InferenceResult(inference, items)

    def _items(self) -> Sequence[Item]:
        """Return the items without a violation."""
        items = self._request.items
        return items if len(self._places) == len(items) else [items[at] for at in self._places]

    def _with_options(self, encodings: list[Encoding]) -> list[Encoding]:
        """Set the side and the number of weights of each encoding."""
        request = self._request
        if request.sides is None and not request.most_weights:
            return encodings
        sides = request.sides or [0] * len(request.items)
        return [
            replace(encoding, side=sides[at], most_weights=request.most_weights)
            for at, encoding in zip(self._places, encodings, strict=True)
        ]

    def _drop_too_long(self) -> None:
        """Turn encodings that are longer than the model's maximum into violations."""
        limit = self._engine.tokenizer.max_length
        if max(map(LONGEST, self._encodings)) <= limit:
            return
        for at, encoding in zip(self._places, self._encodings, strict=True):
            if encoding.longest > limit:
                path = f"{self._request.field}[{at}]"
                problem = f"{encoding.longest} tokens, at most {limit}"
                self._violations[at] = Violation(path, problem)
        self.refuse_violations()
        self._places = [at for at in self._places if at not in self._violations]
        self._encodings = [one for one in self._encodings if one.longest <= limit]

    def _set_server_timing(self, inference: Inference) -> None:
        """Set the trailer `server-timing`, in milliseconds as in W3C Server-Timing.

        A stream sends its trailers once, with the times of its last message.
        """
        started, tokenized = self._request_context.tokenized or (0.0, 0.0)
        timing = (
            f"queue;dur={inference.queue_seconds * 1e3:.3f}, "
            f"tokenize;dur={(tokenized - started) * 1e3:.3f}, "
            f"compute;dur={inference.compute_seconds * 1e3:.3f}"
        )
        trailer = self._request_context.metadata.trailer
        self._context.set_trailing_metadata((("server-timing", timing), trailer))


def _without_failed(
    inference: Inference | None, size: int
) -> tuple[Inference | None, Sequence[int | None]]:
    """Remove the rows of failed encodings. Also return the row index of each encoding, or None."""
    if inference is None or not inference.failed:
        return inference, range(size)
    kept = [number for number in range(size) if number not in inference.failed]
    rows: list[int | None] = [None] * size
    for row, number in enumerate(kept):
        rows[number] = row
    sparse = {row: inference.sparse[at] for row, at in enumerate(kept) if inference.sparse}
    return replace(inference, rows=inference.rows[kept], sparse=sparse), rows
