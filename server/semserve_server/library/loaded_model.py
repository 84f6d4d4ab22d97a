"""A loaded model: its parts, its calls in progress, and how they run."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import replace

from semserve_server.engine import Engine
from semserve_server.errors import DeadlineExceeded, Draining, InvalidRequest, Violation
from semserve_server.library import arguments
from semserve_server.library.arguments import Texts
from semserve_server.registry.registry import TASKS
from semserve_server.request_checks import Limits
from semserve_server.scheduling.request import Inference
from semserve_server.services.scoring_thread import ScoringThread

CLOSED = "the model is closed"
"""Error text of a call that comes after `close`."""
CLOSE_SECONDS = 20.0
"""Most seconds that `close` waits for calls in progress, as `--drain-timeout` of the server."""


class LoadedModel:
    """The lifetime of a model, and what its calls have in common."""

    def __init__(self, engine: Engine, limits: Limits, scorer: ScoringThread) -> None:
        """Store the parts; the model closes them."""
        self._engine = engine
        self._limits = limits
        self._scorer = scorer
        self._closed = False
        self._calls = 0
        self._idle = asyncio.Event()

    def __repr__(self) -> str:
        return f"<AsyncModel {self.name}: {self.task} on {self.provider}>"

    @property
    def name(self) -> str:
        """The model's name."""
        return self._engine.name

    @property
    def task(self) -> str:
        """The task of the bundle: `embedding`, `classification`, `score` or `sparse_embedding`."""
        return self._engine.manifest.task

    @property
    def provider(self) -> str:
        """ONNX Runtime's execution provider that runs the model."""
        return self._engine.provider

    @property
    def variant(self) -> str:
        """The graph that runs, such as `fused`."""
        return self._engine.variant

    @property
    def outputs(self) -> int:
        """Dimensions of a vector, number of labels, 1 score, or size of the vocabulary."""
        return self._engine.manifest.outputs

    async def close(self) -> None:
        """Refuse new calls, wait for those in progress, and let the model's threads end."""
        self._closed = True
        if self._calls:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), CLOSE_SECONDS)
        self._engine.close()
        self._scorer.close()

    @contextlib.asynccontextmanager
    async def _call(self, task: str, seconds: float | None) -> AsyncIterator[Deadline]:
        """Count a call, for `close`, and end it at its deadline.

        Raises:
            Draining: the model is closed.
            InvalidRequest: the model has another task, or the timeout is not positive.
            DeadlineExceeded: the deadline has passed.
        """
        if self._closed:
            raise Draining(CLOSED)
        if self.task != task:
            raise InvalidRequest.of("model", f"{self.name!r} is not {TASKS[task]}")
        arguments.refuse_other_type("timeout", seconds, int, float)
        if seconds is not None and not seconds > 0:
            raise InvalidRequest.of("timeout", f"{seconds}: must be more than 0 seconds, or None")
        self._calls += 1
        self._idle.clear()
        try:
            async with asyncio.timeout(seconds):
                yield Deadline(seconds)
        except TimeoutError:
            raise DeadlineExceeded(f"the timeout of {seconds:g} s has passed") from None
        finally:
            self._calls -= 1
            if not self._calls:
                self._idle.set()

    async def _infer(self, request: Texts, deadline: Deadline, caller: str) -> Inference:
        """Tokenise and run checked texts.

        Raises:
            InvalidRequest: a text is too long, and truncation is off.
        """
        engine = self._engine
        encodings = await engine.encode(
            request.items, request.truncation, remaining=deadline.remaining(), caller=caller
        )
        most = engine.tokenizer.max_length
        long = [
            Violation(path, f"{one.longest} tokens, at most {most}")
            for path, one in zip(request.paths, encodings, strict=True)
            if one.longest > most
        ]
        if long:
            raise InvalidRequest(*long)
        if request.sides is not None:
            with_sides = zip(encodings, request.sides, strict=True)
            encodings = [replace(one, side=number) for one, number in with_sides]
        if request.most_weights:
            encodings = [replace(one, most_weights=request.most_weights) for one in encodings]
        return await engine.infer(encodings, timeout=deadline.remaining(), caller=caller)


class Deadline:
    """The time until which a call must be answered."""

    __slots__ = ("_end",)

    def __init__(self, seconds: float | None) -> None:
        """Start the time of a call: in seconds, None for no limit."""
        self._end = None if seconds is None else time.monotonic() + seconds

    def remaining(self) -> float | None:
        """Return the seconds that are left; None without a limit."""
        return None if self._end is None else max(self._end - time.monotonic(), 0.0)
