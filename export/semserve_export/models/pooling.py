"""An embedder on any backbone; KerasHub has embedders only for BERT and XLM-RoBERTa."""

from collections.abc import Callable
from typing import Any

import keras
import keras_hub
import numpy as np
from keras import ops

from semserve_export.encoder_weights import (
    Dense,
    Pool,
    Pooler,
    Projection,
    SparseHead,
    Step,
    UnitLength,
    VectorNorm,
)
from semserve_export.errors import WeightsError
from semserve_export.model_spec import Activation

LEAST = 1e-9  # divisor for a text without a token
LOWEST = float(np.finfo(np.float32).min)
"""Value of padded tokens for max pooling. tf2onnx makes an infinite constant an input of the graph,
so this one is finite."""


def require_pooling(backbone: Any, pooling: str) -> None:
    """Refuse a pooling that a backbone does not have.

    Args:
        backbone: the backbone's class.
        pooling: the pooling of the options or the preset.

    Raises:
        WeightsError: the message lists the supported poolings.
    """
    known = [*POOLINGS, *(["pooled"] if backbone is keras_hub.models.BertBackbone else [])]
    if pooling not in known:
        raise WeightsError(
            f"the pooling {pooling!r} is none of a {backbone.__name__}'s: {', '.join(known)}"
        )


class PooledTokens(keras.Model):
    """Pools a text's token vectors to one vector, without padding: fp32 [batch, width].

    The attributes have the names of KerasHub's `BertTextEmbedder`.
    """

    def __init__(
        self,
        backbone: Any,
        pooling: str,
        *,
        normalize: bool,
        pooler: Pooler | None = None,
        steps: tuple[Step, ...] = (),
    ) -> None:
        """Put the head on a backbone.

        Args:
            backbone: a KerasHub backbone.
            pooling: a `spec.Pooling`, or several joined by +.
            normalize: whether vectors are scaled to length 1 at the end.
            pooler: the layer of the pooling `pooled`.
            steps: layers between the pooling and the normalisation.

        Raises:
            WeightsError: the model has no pooler, or there is no such pooling.
        """
        head = Pool(pooling, normalize, pooler, steps)
        inputs = backbone.input
        tokens = backbone(inputs)
        if isinstance(tokens, dict):
            tokens = tokens["sequence_output"]
        mask = ops.cast(ops.expand_dims(inputs["padding_mask"], -1), tokens.dtype)
        if pooler:
            vector = _projected(tokens[:, 0, :], pooler.dense, pooler.activation)
        else:
            vectors = [_pooling(mode)(tokens, mask) for mode in head.modes]
            vector = ops.concatenate(vectors, axis=-1) if len(vectors) > 1 else vectors[0]
        for step in steps:
            vector = _step(vector, step)
        super().__init__(inputs, ops.normalize(vector) if normalize else vector)
        self.backbone, self.pooling_mode, self.normalize = backbone, pooling, normalize
        self.head = head


def _pooling(mode: str) -> Callable[[Any, Any], Any]:
    if mode not in POOLINGS:
        raise WeightsError(
            f"--pooling {mode} is not for this model; there are {', '.join(POOLINGS)}"
        )
    return POOLINGS[mode]


def _step(vector: Any, step: Step) -> Any:
    if isinstance(step, Projection):
        return _projected(vector, step.dense, step.activation)
    if isinstance(step, VectorNorm):
        centred = vector - ops.mean(vector, axis=-1, keepdims=True)
        variance = ops.mean(ops.square(centred), axis=-1, keepdims=True)
        return centred / ops.sqrt(variance + step.epsilon) * step.norm.gamma + step.norm.beta
    assert isinstance(step, UnitLength)  # noqa: S101 - mypy's exhaustiveness
    return ops.normalize(vector)


def _projected(vector: Any, dense: Dense, activation: str) -> Any:
    product = ops.matmul(vector, dense.kernel) + dense.bias
    if activation == "gelu":
        return 0.5 * product * (1 + ops.erf(product * 0.5**0.5))
    return keras.activations.get(activation)(product)


def _mean(tokens: Any, mask: Any) -> Any:
    return _weighted_mean(tokens, mask)


def _mean_sqrt_len(tokens: Any, mask: Any) -> Any:
    count = ops.maximum(ops.sum(mask, axis=1), LEAST)
    return ops.sum(tokens * mask, axis=1) / ops.sqrt(count)


def _position_weighted_mean(tokens: Any, mask: Any) -> Any:
    return _weighted_mean(tokens, ops.cumsum(mask, axis=1) * mask)


def _weighted_mean(tokens: Any, weights: Any) -> Any:
    return ops.sum(tokens * weights, axis=1) / ops.maximum(ops.sum(weights, axis=1), LEAST)


def _maximum(tokens: Any, mask: Any) -> Any:
    return ops.max(ops.where(ops.cast(mask, "bool"), tokens, LOWEST), axis=1)


def _first(tokens: Any, _: Any) -> Any:
    return tokens[:, 0, :]


def _last(tokens: Any, mask: Any) -> Any:
    places, count = ops.cumsum(mask, axis=1), ops.sum(mask, axis=1, keepdims=True)
    return ops.sum(tokens * mask * ops.cast(ops.equal(places, count), tokens.dtype), axis=1)


POOLINGS: dict[str, Callable[[Any, Any], Any]] = {
    "mean": _mean,
    "cls": _first,
    "max": _maximum,
    "mean_sqrt_len": _mean_sqrt_len,
    "weightedmean": _position_weighted_mean,
    "last": _last,
}


ACTIVATIONS: dict[Activation, Callable[[Any], Any]] = {
    "erf": lambda x: ops.gelu(x, approximate=False),
    "tanh": lambda x: ops.gelu(x, approximate=True),
    "relu": ops.relu,
    "silu": ops.silu,
}


class SparseTokens(keras.Model):
    """A weight for each entry of the vocabulary: fp32 [batch, vocabulary], at least 0."""

    def __init__(self, backbone: Any, head: SparseHead, epsilon: float) -> None:
        """Put the head on a backbone.

        Args:
            backbone: a KerasHub backbone.
            head: the numbers.
            epsilon: of the layer normalisation.
        """
        inputs = backbone.input
        tokens = backbone(inputs)
        if isinstance(tokens, dict):
            tokens = tokens["sequence_output"]
        x = ops.matmul(tokens, head.transform.kernel) + head.transform.bias
        x = ACTIVATIONS[head.activation](x)
        centred = x - ops.mean(x, axis=-1, keepdims=True)
        variance = ops.mean(ops.square(centred), axis=-1, keepdims=True)
        x = centred / ops.sqrt(variance + epsilon) * head.norm.gamma + head.norm.beta
        weights = ops.relu(ops.matmul(x, head.words.T) + head.bias)
        for _ in range(head.logarithms):
            weights = ops.log1p(weights)
        weights = weights * ops.cast(ops.expand_dims(inputs["padding_mask"], -1), weights.dtype)
        pool = ops.max if head.pooling == "max" else ops.sum
        super().__init__(inputs, pool(weights, axis=1))
        self.backbone, self.head = backbone, head
