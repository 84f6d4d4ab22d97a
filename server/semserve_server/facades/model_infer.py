"""ModelInfer: tensors of texts or token ids to vectors, scores or labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from semserve.v1 import classification_pb2, common_pb2, embedding_pb2, score_pb2

from semserve_server.engine import Engine
from semserve_server.errors import InvalidRequest
from semserve_server.facades import tensors
from semserve_server.facades.stubs.inference import grpc_service_pb2 as oip
from semserve_server.facades.token_ids import infer_tokens
from semserve_server.repository.manifest import Manifest
from semserve_server.rpc.handlers import Context
from semserve_server.services.classification import ClassificationService
from semserve_server.services.embedding import EmbeddingService
from semserve_server.services.score import ScoreService
from semserve_server.services.scores import SCORES
from semserve_server.services.validation import Limits

VERSION = "1"
"""Version of every model: a bundle has only one."""
_TRUNCATIONS = {
    "end": common_pb2.TRUNCATION_END,
    "start": common_pb2.TRUNCATION_START,
    "none": common_pb2.TRUNCATION_NONE,
}
_TEXT_INPUTS = {
    ("embedding", False): ("texts",),
    ("classification", False): ("texts",),
    ("classification", True): ("premise", "hypothesis"),
    ("score", False): ("texts",),
    ("score", True): ("left", "right"),
}
"""Names of the text inputs, by task and by whether the model takes pairs."""


class ModelInfer:
    """Translates each request to a request of `semserve.v1`: the results are bit-identical."""

    def __init__(
        self,
        limits: Limits,
        *,
        embedding: EmbeddingService,
        classification: ClassificationService,
        score: ScoreService,
    ) -> None:
        self._limits = limits
        self._embedding = embedding
        self._classification = classification
        self._scores = score

    async def infer(
        self, engine: Engine, request: oip.ModelInferRequest, context: Context
    ) -> bytes:
        """Return a serialized ModelInferResponse of one model."""
        tensors.require_whole(request)
        given = {tensor.name: place for place, tensor in enumerate(request.inputs)}
        wanted = [output.name for output in request.outputs]
        known = [output.name for output in outputs(engine.manifest)]
        for place, output in enumerate(request.outputs):
            if output.name not in known or output.parameters:
                raise InvalidRequest.of(
                    f"outputs[{place}].name", f"{output.name!r}; the outputs are {', '.join(known)}"
                )
        if "token_ids" in given:
            made = await self._infer_tokens(engine, request, given, context)
        else:
            made = await self._infer_texts(engine, request, given, context)
        chosen = [made[name] for name in wanted or known]
        return oip.ModelInferResponse(
            model_name=engine.name,
            model_version=VERSION,
            id=request.id,
            outputs=[
                oip.ModelInferResponse.InferOutputTensor(
                    name=output.name, datatype=output.datatype, shape=output.shape
                )
                for output in chosen
            ],
            raw_output_contents=[output.content for output in chosen],
        ).SerializeToString()

    async def _infer_texts(
        self,
        engine: Engine,
        request: oip.ModelInferRequest,
        given: Mapping[str, int],
        context: Context,
    ) -> dict[str, tensors.Output]:
        names = text_inputs(engine.manifest)
        _require_inputs(given, names)
        columns = [tensors.texts(request, given[name]) for name in names]
        if len(columns) == 2 and len(columns[0]) != len(columns[1]):  # noqa: PLR2004  (a pair)
            raise InvalidRequest.of(
                f"inputs[{given[names[1]]}].shape",
                f"has {len(columns[1])} texts, and {names[0]!r} has {len(columns[0])}",
            )
        answer = {"embedding": self._embed, "classification": self._classify, "score": self._score}
        return await answer[engine.manifest.task](engine, columns, request, context)

    async def _embed(
        self,
        engine: Engine,
        columns: list[list[str]],
        request: oip.ModelInferRequest,
        context: Context,
    ) -> dict[str, tensors.Output]:
        call = embedding_pb2.EmbedRequest(
            model=engine.name, texts=columns[0], encoding=embedding_pb2.VECTOR_ENCODING_FLOAT32
        )
        _set_parameters(
            call, request.parameters, ("normalize", "dimensions", "prompt_name", "truncation")
        )
        content = await self._embedding.embed(call, context)
        results = embedding_pb2.EmbedResponse.FromString(content).results
        vectors = [result.embedding.packed for result in results]
        shape = (len(vectors), len(vectors[0]) // 4)
        return {"embedding": tensors.Output("embedding", "FP32", shape, b"".join(vectors))}

    async def _classify(
        self,
        engine: Engine,
        columns: list[list[str]],
        request: oip.ModelInferRequest,
        context: Context,
    ) -> dict[str, tensors.Output]:
        pairs = [
            classification_pb2.ClassifyPair(premise=one[0], hypothesis=one[1] if one[1:] else None)
            for one in zip(*columns, strict=True)
        ]
        call = classification_pb2.ClassifyRequest(model=engine.name, pairs=pairs)
        _set_parameters(call, request.parameters, ("truncation",))
        content = await self._classification.classify(call, context)
        answered = classification_pb2.ClassifyResponse.FromString(content)
        found = [result.classification for result in answered.results]
        names = engine.manifest.labels or []
        by_name = [{score.label: score.score for score in one.scores} for one in found]
        scores = [[scores[name] for name in names] for scores in by_name]
        return _classified(
            np.array([one.logits for one in found], "f4"),
            np.array(scores, "f4"),
            [one.label for one in found],
        )

    async def _score(
        self,
        engine: Engine,
        columns: list[list[str]],
        request: oip.ModelInferRequest,
        context: Context,
    ) -> dict[str, tensors.Output]:
        call = score_pb2.ScoreRequest(model=engine.name)
        if engine.manifest.pair:
            pairs = zip(*columns, strict=True)
            call.pairs.extend(score_pb2.ScorePair(left=left, right=right) for left, right in pairs)
        else:
            call.texts.extend(columns[0])
        _set_parameters(call, request.parameters, ("truncation",))
        content = await self._scores.score(call, context)
        scores = score_pb2.ScoreResponse.FromString(content).scores
        return {"scores": tensors.floats("scores", np.array(scores, "f4"))}

    async def _infer_tokens(
        self,
        engine: Engine,
        request: oip.ModelInferRequest,
        given: Mapping[str, int],
        context: Context,
    ) -> dict[str, tensors.Output]:
        _set_parameters(None, request.parameters, ())
        rows = await infer_tokens(engine, request, given, self._limits, context)
        manifest = engine.manifest
        if manifest.task == "embedding":
            return {"embedding": tensors.floats("embedding", rows)}
        scores = SCORES[manifest.scores or "softmax"](rows)
        if manifest.task == "score":
            return {"scores": tensors.floats("scores", scores[:, 0])}
        names = manifest.labels or []
        best = [names[place] for place in rows.argmax(axis=1)]
        return _classified(rows, scores, best)


def text_inputs(manifest: Manifest) -> tuple[str, ...]:
    """Return the names of a model's text inputs.

    Raises:
        InvalidRequest: the model's results cannot be expressed as tensors.
    """
    names = _TEXT_INPUTS.get((manifest.task, bool(manifest.pair)))
    if names is None or manifest.sides:
        what = (
            "has an encoder for each side" if manifest.sides else f"is a model of {manifest.task}"
        )
        raise InvalidRequest.of("model_name", f"{manifest.model} {what}: call semserve.v1")
    return names


def outputs(manifest: Manifest) -> list[tensors.Output]:
    """Return the outputs of a model, without content; the number of texts is -1."""
    if manifest.task == "embedding":
        return [tensors.Output("embedding", "FP32", (-1, manifest.outputs), b"")]
    if manifest.task == "score":
        return [tensors.Output("scores", "FP32", (-1,), b"")]
    size = len(manifest.labels or ())
    return [
        tensors.Output("label", "BYTES", (-1,), b""),
        tensors.Output("scores", "FP32", (-1, size), b""),
        tensors.Output("logits", "FP32", (-1, size), b""),
    ]


def _classified(logits: Any, scores: Any, best: list[str]) -> dict[str, tensors.Output]:
    return {
        "label": tensors.labels("label", best),
        "scores": tensors.floats("scores", scores),
        "logits": tensors.floats("logits", logits),
    }


def _require_inputs(given: Mapping[str, int], names: tuple[str, ...]) -> None:
    for name, place in given.items():
        if name not in names:
            known = ", ".join(names)
            raise InvalidRequest.of(
                f"inputs[{place}].name", f"{name[:64]!r}; the inputs are {known}"
            )
    for name in names:
        if name not in given:
            raise InvalidRequest.of("inputs", f"{name!r} is missing")


def _set_parameters(
    call: Any, parameters: Mapping[str, oip.InferParameter], known: tuple[str, ...]
) -> None:
    """Set the parameters in a request of `semserve.v1`.

    Raises:
        InvalidRequest: names a parameter that is unknown or has the wrong type.
    """
    kinds: dict[str, tuple[str, Callable[[Any], Any]]] = {
        "normalize": ("bool_param", bool),
        "dimensions": ("int64_param", int),
        "prompt_name": ("string_param", str),
        "truncation": ("string_param", _truncation),
    }
    for name, value in parameters.items():
        if name not in known:
            names = ", ".join(known) or "none"
            raise InvalidRequest.of(f"parameters[{name[:64]}]", f"is unknown; known are: {names}")
        kind, convert = kinds[name]
        if value.WhichOneof("parameter_choice") != kind:
            raise InvalidRequest.of(f"parameters[{name}]", f"has no {kind}")
        try:
            setattr(call, name, convert(getattr(value, kind)))
        except ValueError as error:
            raise InvalidRequest.of(f"parameters[{name}]", "is out of range") from error


def _truncation(name: str) -> int:
    if name not in _TRUNCATIONS:
        known = ", ".join(_TRUNCATIONS)
        raise InvalidRequest.of("parameters[truncation]", f"{name[:64]!r}; known are: {known}")
    return _TRUNCATIONS[name]
