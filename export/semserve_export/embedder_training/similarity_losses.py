"""The losses of an embedder's training, for the vectors of the two texts of each pair.

For B pairs and vectors of width D: left and right are fp32 [B, D], scores fp32 [B].
"""

from collections.abc import Callable, Mapping
from typing import Any

from keras import ops

RANKING_SCALE = 20.0
"""Factor of the cosines before the softmax, as in sentence-transformers."""


def cosine_of(left: Any, right: Any) -> Any:
    """Return the cosine of each pair, fp32 [B]."""
    return ops.sum(ops.normalize(left, axis=-1) * ops.normalize(right, axis=-1), axis=-1)


def manhattan_of(left: Any, right: Any) -> Any:
    """Return exp(-L1) of each pair, fp32 [B] (Mueller and Thyagarajan, AAAI 2016)."""
    return ops.exp(-ops.sum(ops.abs(left - right), axis=-1))


def _cosine_loss(left: Any, right: Any, scores: Any) -> Any:
    return ops.mean(ops.square(cosine_of(left, right) - scores))


def _manhattan_loss(left: Any, right: Any, scores: Any) -> Any:
    return ops.mean(ops.square(manhattan_of(left, right) - scores))


def _ranking_loss(left: Any, right: Any, _: Any) -> Any:
    """Return the cross-entropy of finding the partner of each left text among all right texts.

    Multiple negatives ranking (Henderson et al. 2017, arXiv:1705.00652).
    """
    cosines = ops.matmul(ops.normalize(left, axis=-1), ops.transpose(ops.normalize(right, axis=-1)))
    partners = ops.arange(ops.shape(left)[0])
    return ops.mean(
        ops.sparse_categorical_crossentropy(partners, RANKING_SCALE * cosines, from_logits=True)
    )


LOSSES: Mapping[str, Callable[[Any, Any, Any], Any]] = {
    "cosine": _cosine_loss,
    "manhattan": _manhattan_loss,
    "ranking": _ranking_loss,
}
