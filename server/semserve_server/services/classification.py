"""ClassificationService: texts or pairs to labels."""

from __future__ import annotations

from functools import lru_cache

from semserve.v1 import classification_pb2

from semserve_server.errors import Violation
from semserve_server.registry.registry import ModelRegistry
from semserve_server.repository.manifest import Manifest
from semserve_server.rpc import encoding as wire
from semserve_server.rpc.handlers import Context, Handlers, Streams, StreamShape, unary
from semserve_server.runtime.tokenizer import Item
from semserve_server.services import validation as checks
from semserve_server.services.execution import ITEM_BYTES, InferenceRequest, execute
from semserve_server.services.scores import SCORES
from semserve_server.services.validation import Limits


class ClassificationService:
    """Classify and StreamClassify."""

    name = "semserve.v1.ClassificationService"

    def __init__(self, models: ModelRegistry, limits: Limits) -> None:
        self._models = models
        self._limits = limits

    def handlers(self, streams: Streams) -> Handlers:
        """Return a handler for each RPC of the service."""
        shape = StreamShape(
            classification_pb2.StreamClassifyRequest, classification_pb2.StreamClassifyResponse
        )
        return {
            "Classify": unary(
                classification_pb2.ClassifyRequest,
                self.classify,
                max_fields=self._limits.max_texts,
            ),
            "StreamClassify": streams.handler(shape, self.classify),
        }

    async def classify(
        self, request: classification_pb2.ClassifyRequest, context: Context
    ) -> bytes:
        """Return a serialized ClassifyResponse: the labels and scores of each pair."""
        engine = self._models.for_task("classification", request.model)
        labels = engine.manifest.labels or []
        result = await execute(engine, self._inference_request(request, engine.manifest), context)
        answers: list[bytes] = []
        if result.inference:
            logits = result.inference.rows
            scores = SCORES[engine.manifest.scores or "softmax"](logits)
            answers = wire.classifications(labels, logits, scores)
        return wire.response(engine.name, answers, result.items, result.usage)

    def _inference_request(
        self, request: classification_pb2.ClassifyRequest, manifest: Manifest
    ) -> InferenceRequest:
        pair, labels = manifest.pair, manifest.labels or []
        checks.count("pairs", len(request.pairs), self._limits)
        items: list[Item] = []
        violations: dict[int, Violation] = {}
        for place, one in enumerate(request.pairs):
            items.append((one.premise, one.hypothesis) if pair else one.premise)
            wrong = self._wrong(one, pair=pair)
            if wrong:
                violations[place] = Violation(f"pairs[{place}].{wrong[0]}", wrong[1])
        return InferenceRequest(
            items=items,
            field="pairs",
            violations=violations,
            truncation=checks.truncation(request.truncation, manifest.truncation),
            allow_partial=request.allow_partial,
            reply_bytes=len(items) * (_label_bytes(tuple(labels)) + ITEM_BYTES),
        )

    def _wrong(self, one: classification_pb2.ClassifyPair, *, pair: bool) -> tuple[str, str] | None:
        """Return the first invalid field of a pair and the reason; the premise is checked first."""
        if wrong := checks.text(one.premise, self._limits):
            return "premise", wrong
        given = one.HasField("hypothesis")
        if pair and not given:
            return "hypothesis", "is missing: this model classifies pairs"
        if given and not pair:
            return "hypothesis", "is given, but this model classifies single texts"
        if pair and (wrong := checks.text(one.hypothesis, self._limits)):
            return "hypothesis", wrong
        return None


@lru_cache(maxsize=wire.MAX_MODELS)
def _label_bytes(labels: tuple[str, ...]) -> int:
    """Return the bytes of all labels and their two numbers in a reply.

    The best label appears twice.
    """
    return sum(2 * len(label.encode()) + 20 for label in labels)
