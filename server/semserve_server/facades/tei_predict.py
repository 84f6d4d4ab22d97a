"""tei.v1.Predict and tei.v1.Rerank: texts and pairs to labels, and texts sorted by their score."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from semserve.v1 import common_pb2

from semserve_server.engine import Engine
from semserve_server.errors import InvalidRequest, Unsupported
from semserve_server.facades.fields import fields_renamed
from semserve_server.facades.ordered_streams import collecting_stream, ordered_stream
from semserve_server.facades.stubs.tei.v1 import tei_pb2 as tei
from semserve_server.facades.tei_call import TeiFacade, cost, model_of, truncation
from semserve_server.repository.manifest import Manifest
from semserve_server.rpc.handlers import Context, Handlers, Streams, unary
from semserve_server.runtime.tokenizer import Item
from semserve_server.services import validation as checks
from semserve_server.services.execution import (
    ITEM_BYTES,
    InferenceRequest,
    InferenceResult,
    execute,
)
from semserve_server.services.score import MAX_RERANK_CHARACTERS
from semserve_server.services.scores import SCORES, sigmoid, softmax
from semserve_server.services.validation import Limits

_Rows = NDArray[np.float32]
MAX_RERANK_STREAM_BYTES = 4 * MAX_RERANK_CHARACTERS
"""Most bytes of all messages of RerankStream; a character has at most 4."""
_SINGLE_LABEL = "LABEL_0"
"""Label of a model of one output without a name, as Hugging Face configurations have it."""


class PredictFacade(TeiFacade):
    """Predict, PredictPair and their streams."""

    name = "tei.v1.Predict"

    def handlers(self, streams: Streams) -> Handlers:
        """Return a handler for each RPC of the service."""
        return {
            "Predict": unary(tei.PredictRequest, self.predict),
            "PredictStream": ordered_stream(streams, tei.PredictRequest, self.predict),
            "PredictPair": unary(tei.PredictPairRequest, self.predict_pair),
            "PredictPairStream": ordered_stream(streams, tei.PredictPairRequest, self.predict_pair),
        }

    async def predict(self, request: tei.PredictRequest, context: Context) -> tei.PredictResponse:
        """Return the labels of a text, best first."""
        return await self._predict([request.inputs], request, context, single=True)

    async def predict_pair(
        self, request: tei.PredictPairRequest, context: Context
    ) -> tei.PredictResponse:
        """Return the labels of a pair, or of a single text, best first."""
        return await self._predict(list(request.inputs), request, context, single=False)

    async def _predict(
        self,
        texts: list[str],
        request: tei.PredictRequest | tei.PredictPairRequest,
        context: Context,
        *,
        single: bool,
    ) -> tei.PredictResponse:
        if len(texts) not in (1, 2):
            raise InvalidRequest.of("inputs", f"has {len(texts)} texts; it takes one or two")
        engine = model_of(self._models, ("classification", "score"), context)
        item: Item = texts[0] if len(texts) == 1 else (texts[0], texts[1])
        if isinstance(item, str):
            _refuse_one_of_two_inputs(engine)
        paths = ["inputs"] if single else [f"inputs[{place}]" for place in range(len(texts))]
        _check_texts([list(zip(paths, texts, strict=True))], self._limits)
        labels = engine.manifest.labels or [_SINGLE_LABEL]
        result = await _run(
            engine,
            [item],
            rule=truncation(request),
            context=context,
            reply_bytes=sum(len(label.encode()) + ITEM_BYTES for label in labels),
            fields={"inputs[0]": "inputs"},
        )
        scores = _scores(engine.manifest, _rows(result), raw=request.raw_scores)[0]
        return tei.PredictResponse(
            predictions=[
                tei.Prediction(score=float(scores[place]), label=labels[place])
                for place in _best_first(scores)
            ],
            metadata=cost(*texts, tokens=_tokens(result)),
        )


class RerankFacade(TeiFacade):
    """Rerank and RerankStream."""

    name = "tei.v1.Rerank"

    def handlers(self, streams: Streams) -> Handlers:
        """Return a handler for each RPC of the service."""
        return {
            "Rerank": unary(tei.RerankRequest, self.rerank, max_fields=self._limits.max_texts),
            "RerankStream": collecting_stream(
                streams,
                tei.RerankStreamRequest,
                self.rerank_all,
                max_bytes=MAX_RERANK_STREAM_BYTES,
            ),
        }

    async def rerank(self, request: tei.RerankRequest, context: Context) -> tei.RerankResponse:
        """Return the texts, best first: the scores of Rerank of `semserve.v1`, to the bit."""
        if not request.texts:
            raise InvalidRequest.of("texts", "is empty: at least one is needed")
        engine = model_of(self._models, ("score",), context)
        checks.count("texts", len(request.texts), self._limits)
        pairs = [(request.query, text) for text in request.texts]
        _check_texts(
            [
                [("query", query), (f"texts[{place}]", text)]
                for place, (query, text) in enumerate(pairs)
            ],
            self._limits,
        )
        return await self._ranked(
            engine,
            pairs,
            [truncation(request)] * len(pairs),
            context,
            raw=request.raw_scores,
            return_text=request.return_text,
            path="texts[{}]".format,
        )

    async def rerank_all(
        self, requests: Sequence[tei.RerankStreamRequest], context: Context
    ) -> tei.RerankResponse:
        """Return the texts of all messages, best first."""
        engine = model_of(self._models, ("score",), context)
        checks.count("", len(requests), self._limits)
        pairs = [(one.query, one.text) for one in requests]
        _check_texts(
            [
                [(f"messages[{place}].query", query), (f"messages[{place}].text", text)]
                for place, (query, text) in enumerate(pairs)
            ],
            self._limits,
        )
        return await self._ranked(
            engine,
            pairs,
            [truncation(one) for one in requests],
            context,
            raw=requests[0].raw_scores,
            return_text=requests[0].return_text,
            path="messages[{}]".format,
        )

    async def _ranked(
        self,
        engine: Engine,
        pairs: Sequence[tuple[str, str]],
        rules: Sequence[common_pb2.Truncation.ValueType],
        context: Context,
        *,
        raw: bool,
        return_text: bool,
        path: Callable[[int], str],
    ) -> tei.RerankResponse:
        size = sum(len(query) + len(text) for query, text in pairs)
        if size > MAX_RERANK_CHARACTERS:
            raise InvalidRequest.of(
                "", f"all pairs have {size} characters, at most {MAX_RERANK_CHARACTERS}"
            )
        if len(set(rules)) > 1:
            raise Unsupported("messages of one stream with different truncation")
        text_bytes = sum(len(text.encode()) for _, text in pairs) if return_text else 0
        result = await _run(
            engine,
            pairs,
            rule=rules[0],
            context=context,
            reply_bytes=len(pairs) * ITEM_BYTES + text_bytes,
            fields={f"inputs[{place}]": path(place) for place in range(len(pairs))},
        )
        scores = _scores(engine.manifest, _rows(result), raw=raw)[:, 0]
        return tei.RerankResponse(
            ranks=[
                tei.Rank(
                    index=int(place),
                    score=float(scores[place]),
                    text=pairs[place][1] if return_text else None,
                )
                for place in _best_first(scores)
            ],
            metadata=cost(*(text for pair in pairs for text in pair), tokens=_tokens(result)),
        )


async def _run(
    engine: Engine,
    items: Sequence[Item],
    *,
    rule: common_pb2.Truncation.ValueType,
    context: Context,
    reply_bytes: int,
    fields: dict[str, str],
) -> InferenceResult:
    with fields_renamed(fields):
        return await execute(
            engine,
            InferenceRequest(
                items=items,
                field="inputs",
                violations={},
                truncation=checks.truncation(rule, engine.manifest.truncation),
                allow_partial=False,
                reply_bytes=reply_bytes + 2 * ITEM_BYTES,
            ),
            context,
        )


def _refuse_one_of_two_inputs(engine: Engine) -> None:
    """Refuse a single text for a model that takes the texts of a pair as two inputs.

    Other models get a single text, or a pair, as their tokenizer joins it, whatever they were
    trained on: that is what text-embeddings-inference does.

    Raises:
        InvalidRequest: the model needs two texts.
    """
    if engine.manifest.pair_inputs == "separate":
        raise InvalidRequest.of("inputs", f"has 1; {engine.name} takes a pair: call PredictPair")


def _check_texts(items: Iterable[Sequence[tuple[str, str]]], limits: Limits) -> None:
    """Refuse invalid texts. One text of a pair may be empty, if the other is not.

    Args:
        items: path and text of each text of each item.
        limits: the limits.

    Raises:
        InvalidRequest: with a violation for each invalid text.
    """
    fields: dict[str, str] = {}
    for item in items:
        fields.update([one for one in item if one[1]] or item)
    checks.texts(fields.items(), limits)


def _best_first(scores: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return the indices of float32 [n] scores, best first; of equal scores the last comes first.

    text-embeddings-inference sorts upwards and reverses.
    """
    return np.argsort(scores, kind="stable")[::-1]


def _rows(result: InferenceResult) -> _Rows:
    if result.inference is None:
        raise ValueError("a request without texts passed validation. This is a bug.")
    return result.inference.rows


def _tokens(result: InferenceResult) -> int:
    return sum(item.token_count for item in result.items)


def _scores(manifest: Manifest, logits: _Rows, *, raw: bool) -> _Rows:
    """Return the score of each output: float32 [items, outputs].

    Without `raw`, a model whose own scores are its logits gets what this API promises, a softmax
    or for a single output a sigmoid.
    """
    if raw:
        return logits
    default = manifest.scores or ("none" if manifest.task == "score" else "softmax")
    if default == "none":
        return (sigmoid if logits.shape[1] == 1 else softmax)(logits)
    return SCORES[default](logits)
