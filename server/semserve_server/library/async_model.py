"""A model for programs that use asyncio. Calls that run at the same time share batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semserve_server import request_checks as checks
from semserve_server.library import arguments
from semserve_server.library.arguments import PairWords, Texts
from semserve_server.library.comparison import comparison
from semserve_server.library.loaded_model import LoadedModel
from semserve_server.runtime.sparse import SparseRow
from semserve_server.services.scores import SCORES, normalized


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


class AsyncModel(LoadedModel):
    """One model. Use it on the event loop that opened it; `open_async_model` makes it.

    Every call may raise these errors of `semserve_server.errors`, each with a text of one line:
    `InvalidRequest` (names the argument), `Overloaded` (a queue is full, or the timeout cannot be
    met; has `retry_after`, in seconds), `DeadlineExceeded`, `Draining` (the model is closed) and
    `InferenceFailed`. Every call accepts `timeout`, in seconds, None for no limit, and `caller`:
    callers share the runs fairly.
    """

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
            rows = (await self._infer(request, deadline, caller)).rows[:, : dimensions or size]
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
            request = self._pairs(pairs, arguments.CLASSIFIED, truncation)
            logits = np.array((await self._infer(request, deadline, caller)).rows)
        scores = SCORES[manifest.scores or "softmax"](logits)
        classes = tuple(manifest.labels or ())
        labels = tuple(classes[at] for at in scores.argmax(axis=1).tolist())
        return Classifications(classes, labels, scores, logits)

    async def score(
        self,
        pairs: Sequence[str | tuple[str, str]],
        *,
        truncation: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
        caller: str = "",
    ) -> NDArray[np.float32]:
        """Return the score of each pair (left, right) or text; a reranker's documents are `right`.

        Args:
            pairs: at least one: tuples for a model of pairs, texts for a model of texts.
            truncation: as in `embed`.
            timeout: in seconds.
            caller: name of the caller.

        Returns:
            Float32 [pairs], by the score function of the bundle.
        """
        async with self._call("score", timeout) as deadline:
            request = self._pairs(pairs, arguments.SCORED, truncation)
            rows = (await self._infer(request, deadline, caller)).rows
        return SCORES[self._engine.manifest.scores or "none"](rows)[:, 0].copy()

    async def embed_sparse(
        self,
        texts: Sequence[str],
        *,
        top_k: int | None = None,
        prompt_name: str | None = None,
        truncation: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
        caller: str = "",
    ) -> list[SparseRow]:
        """Return the sparse vectors of texts, each with its weights above 0.

        Args:
            texts: at least one.
            top_k: keep only so many of the largest weights of each text; None for all.
            prompt_name: as in `embed`.
            truncation: as in `embed`.
            timeout: in seconds.
            caller: name of the caller.
        """
        manifest = self._engine.manifest
        async with self._call("sparse_embedding", timeout) as deadline:
            checked = arguments.checked_texts("texts", texts, self._limits)
            arguments.refuse_other_type("prompt_name", prompt_name, str)
            arguments.refuse_other_type("top_k", top_k, int)
            prompt = checks.named_prompt(manifest, prompt_name, "prompt_name")
            most = self.outputs if top_k is None else checks.within("top_k", top_k)
            request = Texts(
                [prompt + text for text in checked],
                [f"texts[{at}]" for at in range(len(checked))],
                arguments.truncation(truncation, manifest),
                most_weights=min(most, self.outputs),
            )
            rows = (await self._infer(request, deadline, caller)).sparse
        return [rows[at] for at in range(len(checked))]

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
                inference = await self._infer(checked.request, deadline, caller)
                content = await self._scorer.compute(
                    checked.pieces(inference.rows),
                    operations=operations,
                    seconds=deadline.remaining(),
                )
        shape = len(checked.left), len(checked.right)
        return np.frombuffer(bytearray(content), np.float32).reshape(shape)

    def _pairs(self, pairs: Sequence[object], words: PairWords, truncation: str | None) -> Texts:
        """Check the pairs or texts of a call."""
        manifest = self._engine.manifest
        items = arguments.checked_pairs(pairs, self._limits, words, pair=manifest.pair)
        paths = [f"pairs[{at}]" for at in range(len(items))]
        return Texts(items, paths, arguments.truncation(truncation, manifest))
