"""An embedder on any backbone: KerasHub has one for BERT and XLM-RoBERTa alone."""

from collections.abc import Callable
from typing import Any

import keras
import keras_hub
from keras import ops

from semserve_export.errors import WeightsError
from semserve_export.spec import Pooling

LEAST = 1e-9  # divisor of a text without a token


def require_pooling(backbone: Any, pooling: str) -> None:
    """Refuse a pooling that a backbone does not have.

    Args:
        backbone: the backbone's class.
        pooling: as the user or the preset says.

    Raises:
        WeightsError: it names those that there are.
    """
    known = [*POOLINGS, *(["pooled"] if backbone is keras_hub.models.BertBackbone else [])]
    if pooling not in known:
        raise WeightsError(
            f"the pooling {pooling!r} is none of a {backbone.__name__}'s: {', '.join(known)}"
        )


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
        pooled = POOLINGS[pooling](tokens, mask)
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


POOLINGS: dict[str, Callable[[Any, Any], Any]] = {"mean": _mean, "max": _maximum, "cls": _first}
