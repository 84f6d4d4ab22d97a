"""ClassificationService: texts or pairs to labels."""

from __future__ import annotations

from semserve.v1 import classification_pb2
from semserve.v1.classification_pb2 import Classification, ClassifyResult, LabelScore

from semserve_server.errors import Violation
from semserve_server.models import Models
from semserve_server.services import checks
from semserve_server.services.checks import Limits
from semserve_server.services.rpc import Context, Handlers, Streams, StreamShape, unary
from semserve_server.services.wire import Outcome
from semserve_server.services.work import Done, Work, run
from semserve_server.similarity import softmax
from semserve_server.tokenizer import Item


class ClassificationService:
    """Classify and StreamClassify."""

    name = "semserve.v1.ClassificationService"

    def __init__(self, models: Models, limits: Limits) -> None:
        self._models = models
        self._limits = limits

    def handlers(self, streams: Streams) -> Handlers:
        """Return a handler for each RPC of the service."""
        shape = StreamShape(
            classification_pb2.StreamClassifyRequest, classification_pb2.StreamClassifyResponse
        )
        return {
            "Classify": unary(classification_pb2.ClassifyRequest, self.classify),
            "StreamClassify": streams.handler(shape, self.classify),
        }

    async def classify(
        self, request: classification_pb2.ClassifyRequest, context: Context
    ) -> classification_pb2.ClassifyResponse:
        """Answer with the labels and scores of each pair."""
        engine = self._models.for_task("classification", request.model)
        done = await run(engine, self._work(request, pair=engine.manifest.pair), context)
        response = classification_pb2.ClassifyResponse(
            model=engine.name, results=_results(done, engine.manifest.labels or [])
        )
        response.usage.MergeFromString(done.usage)
        return response

    def _work(self, request: classification_pb2.ClassifyRequest, *, pair: bool) -> Work:
        checks.count("pairs", len(request.pairs), self._limits)
        items: list[Item] = []
        violations: dict[int, Violation] = {}
        for place, one in enumerate(request.pairs):
            items.append((one.premise, one.hypothesis) if pair else one.premise)
            violation = self._violation(f"pairs[{place}]", one, pair=pair)
            if violation:
                violations[place] = violation
        return Work(
            items=items,
            field="pairs",
            violations=violations,
            truncation=checks.truncation(request.truncation),
            allow_partial=request.allow_partial,
        )

    def _violation(
        self, path: str, one: classification_pb2.ClassifyPair, *, pair: bool
    ) -> Violation | None:
        """Tell what is wrong with one pair, its premise first."""
        violation = checks.text(f"{path}.premise", one.premise, self._limits)
        if violation:
            return violation
        path = f"{path}.hypothesis"
        if pair and not one.HasField("hypothesis"):
            return Violation(path, "is missing: this model classifies pairs")
        if not pair and one.HasField("hypothesis"):
            return Violation(path, "is given, but this model classifies single texts")
        return checks.text(path, one.hypothesis, self._limits) if pair else None


def _results(done: Done, labels: list[str]) -> list[ClassifyResult]:
    if done.inference is None:
        return [_result(outcome, None) for outcome in done.outcomes]
    classifications = [
        Classification(
            label=labels[max(range(len(labels)), key=scores.__getitem__)],
            scores=[
                LabelScore(label=label, score=score)
                for label, score in zip(labels, scores, strict=True)
            ],
            logits=logits,
        )
        for logits, scores in zip(
            done.inference.rows.tolist(), softmax(done.inference.rows).tolist(), strict=True
        )
    ]
    return [
        _result(outcome, None if outcome.row is None else classifications[outcome.row])
        for outcome in done.outcomes
    ]


def _result(outcome: Outcome, classification: Classification | None) -> ClassifyResult:
    return ClassifyResult(
        classification=classification,
        error=outcome.error,
        token_count=outcome.token_count,
        truncated_tokens=outcome.truncated_tokens,
    )
