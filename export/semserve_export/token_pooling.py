"""An embedder on any backbone: KerasHub has one for BERT and XLM-RoBERTa alone."""

from typing import Any

import keras
from keras import ops

from semserve_export.spec import Pooling

LEAST = 1e-9  # divisor of a text without a token


class PooledTokens(keras.Model):
    """One vector of a text's token vectors: fp32 [batch, hidden]; padding has no part in it.

    The attributes have the names of KerasHub's `BertTextEmbedder`.
    """

    def __init__(self, backbone: Any, pooling: Pooling, *, normalize: bool) -> None:
        inputs = backbone.input
        tokens = backbone(inputs)
        if isinstance(tokens, dict):
            tokens = tokens["sequence_output"]
        mask = ops.expand_dims(inputs["padding_mask"], -1)
        pooled = {"mean": _mean, "max": _maximum, "cls": _first}[pooling](tokens, mask)
        super().__init__(inputs, ops.normalize(pooled) if normalize else pooled)
        self.backbone, self.pooling_mode, self.normalize = backbone, pooling, normalize


def _mean(tokens: Any, mask: Any) -> Any:
    shares = ops.cast(mask, tokens.dtype)
    return ops.sum(tokens * shares, axis=1) / ops.maximum(ops.sum(shares, axis=1), LEAST)


def _maximum(tokens: Any, mask: Any) -> Any:
    least = ops.cast(float("-inf"), tokens.dtype)
    return ops.max(ops.where(ops.cast(mask, "bool"), tokens, least), axis=1)


def _first(tokens: Any, _: Any) -> Any:
    return tokens[:, 0, :]
