"""A model for programs that use asyncio. Calls that run at the same time share batches."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from semserve_server import request_checks as checks
from semserve_server.engine import Engine
from semserve_server.errors import DeadlineExceeded, Draining, InvalidRequest, Violation
from semserve_server.library import arguments
from semserve_server.library.arguments import Texts
from semserve_server.library.comparison import comparison
from semserve_server.registry.registry import TASKS
from semserve_server.request_checks import Limits
from semserve_server.services.scores import SCORES, Rows, normalized
from semserve_server.services.scoring_thread import ScoringThread

CLOSED = "the model is closed"
"""Error text of a call that comes after `close`."""
CLOSE_SECONDS = 20.0
"""Most seconds that `close` waits for calls in progress, as `--drain-timeout` of the server."""


@dataclass(frozen=True, slots=True, eq=False)
class Classifications:
    """The labels and scores of texts or pairs, in the order of the call."""

    classes: tuple[str, ...]
    """The model's labels, in the order of the columns below."""
    labels: tuple[str, ...]
    """The label with the highest score of each text or pair; of equal scores, the first label."""
    scores: NDArray[np.float32]
    """Float32 [texts, classes]: probabilities, or the logits if the bundle says `scores: none`."""
    logits: NDArray[np.float32]
    """Float32 [texts, classes]: the outputs of the model."""


class AsyncModel:
    """One model. Use it on the event loop that opened it; `open_async_model` makes it.

    Every call may raise these errors of `semserve_server.errors`, each with a text of one line:
    `InvalidRequest` (names the argument), `Overloaded` (a queue is full, or the timeout cannot be
    met; has `retry_after`, in seconds), `DeadlineExceeded`, `Draining` (the model is closed) and
    `InferenceFailed`. Every call accepts `timeout`, in seconds, None for no limit, and `caller`:
    callers share the runs fairly.
    """

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
        """The task of the bundle: `embedding` or `classification`."""
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
        """Dimensions of a vector, or number of labels."""
        return self._engine.manifest.outputs

    async def embed(  # noqa: PLR0913  (the fields of an Embed request)
        self,
        texts: Sequence[str],
        *,
        dimensions: int | None = None,
        normalize: bool | None = None,
        prompt_name: str | None = None,
        side: str | None = None,
        truncation: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  (it also decides admission)
        caller: str = "",
    ) -> NDArray[np.float32]:
        """Return the vectors of texts.

        Args:
            texts: at least one.
            dimensions: keep the first ones only; None for all.
            normalize: whether to scale the vectors to unit length; None for the model's own rule.
            prompt_name: prompt of the bundle before each text; "" for none, None for the default.
            side: `left` or `right`, for a model with an encoder for each side.
            truncation: of too long texts: `end`, `start`, or `none` to refuse them; None for the
                model's own rule.
            timeout: in seconds.
            caller: name of the caller.

        Returns:
            Float32 [texts, dimensions].
        """
        manifest, size = self._engine.manifest, self.outputs
        async with self._call("embedding", timeout) as deadline:
            checked = arguments.checked_texts("texts", texts, self._limits)
            number = arguments.side(side, manifest)
            arguments.refuse_other_type("prompt_name", prompt_name, str)
            arguments.refuse_other_type("dimensions", dimensions, int)
            prompt = checks.named_prompt(manifest, prompt_name, "prompt_name")
            if dimensions is not None:
                checks.within("dimensions", dimensions, most=size)
            request = Texts(
                [prompt + text for text in checked],
                [f"texts[{at}]" for at in range(len(checked))],
                arguments.truncation(truncation, manifest),
                None if number is None else [number] * len(checked),
            )
            rows = (await self._rows(request, deadline, caller))[:, : dimensions or size]
        unit = bool(manifest.normalized)
        wanted = unit if normalize is None else normalize
        # Unit vectors from the graph need no second normalisation unless they are shortened.
        again = wanted and (rows.shape[1] < size or not unit)
        return normalized(rows) if again else np.array(rows)

    async def classify(
        self,
        pairs: Sequence[str | tuple[str, str]],
        *,
        truncation: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
        caller: str = "",
    ) -> Classifications:
        """Return the labels of pairs (premise, hypothesis), or of texts.

        Args:
            pairs: at least one: tuples for a model of pairs, texts for a model of texts.
            truncation: as in `embed`.
            timeout: in seconds.
            caller: name of the caller.
        """
        manifest = self._engine.manifest
        async with self._call("classification", timeout) as deadline:
            items = arguments.checked_pairs(pairs, self._limits, pair=manifest.pair)
            request = Texts(
                items,
                [f"pairs[{at}]" for at in range(len(items))],
                arguments.truncation(truncation, manifest),
            )
            logits = np.array(await self._rows(request, deadline, caller))
        scores = SCORES[manifest.scores or "softmax"](logits)
        classes = tuple(manifest.labels or ())
        labels = tuple(classes[at] for at in scores.argmax(axis=1).tolist())
        return Classifications(classes, labels, scores, logits)

    async def similarity(
        self,
        left: Sequence[str],
        right: Sequence[str] | None = None,
        *,
        metric: str | None = None,
        prompt_name: str | None = None,
        right_prompt_name: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
        caller: str = "",
    ) -> NDArray[np.float32]:
        """Return the score of every left text with every right text; higher is more similar.

        Args:
            left: at least one.
            right: at least one; None for the left texts.
            metric: `cosine`, `dot`, `euclidean` or `manhattan`; None for the model's metric.
            prompt_name: as in `embed`.
            right_prompt_name: prompt of the right texts; None for `prompt_name`.
            timeout: in seconds.
            caller: name of the caller.

        Returns:
            Float32 [left, right]. Each different text is embedded once.
        """
        async with self._call("embedding", timeout) as deadline:
            checked = comparison(
                self._engine.manifest,
                self._limits,
                left,
                right,
                metric=metric,
                prompts=(prompt_name, right_prompt_name),
            )
            scores, operations = checked.scores, checked.scores * self.outputs
            with self._scorer.room(scores, operations, seconds=deadline.remaining()):
                rows = await self._rows(checked.request, deadline, caller)
                content = await self._scorer.compute(
                    checked.pieces(rows), operations=operations, seconds=deadline.remaining()
                )
        shape = len(checked.left), len(checked.right)
        return np.frombuffer(bytearray(content), np.float32).reshape(shape)

    async def close(self) -> None:
        """Refuse new calls, wait for those in progress, and let the model's threads end."""
        self._closed = True
        if self._calls:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), CLOSE_SECONDS)
        self._engine.close()
        self._scorer.close()

    @contextlib.asynccontextmanager
    async def _call(self, task: str, seconds: float | None) -> AsyncIterator[_Deadline]:
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
                yield _Deadline(seconds)
        except TimeoutError:
            raise DeadlineExceeded(f"the timeout of {seconds:g} s has passed") from None
        finally:
            self._calls -= 1
            if not self._calls:
                self._idle.set()

    async def _rows(self, request: Texts, deadline: _Deadline, caller: str) -> Rows:
        """Tokenise and run checked texts: float32 [texts, outputs].

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
        inference = await engine.infer(encodings, timeout=deadline.remaining(), caller=caller)
        return inference.rows


class _Deadline:
    """The time until which a call must be answered."""

    __slots__ = ("_end",)

    def __init__(self, seconds: float | None) -> None:
        """Start the time of a call: in seconds, None for no limit."""
        self._end = None if seconds is None else time.monotonic() + seconds

    def remaining(self) -> float | None:
        """Return the seconds that are left; None without a limit."""
        return None if self._end is None else max(self._end - time.monotonic(), 0.0)
