"""The names of `encoder.py`'s parameters in the Keras models, and how their arrays are turned."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_BERT = {
    "output": "self_attention_layer/attention_output",
    "up": "feedforward_intermediate_dense",
    "down": "feedforward_output_dense",
    "attention_norm": "self_attention_layer_norm",
    "norm": "feedforward_layer_norm",
}
_MPNET = {
    "output": "attention_output",
    "up": "up",
    "down": "down",
    "attention_norm": "attention_norm",
    "norm": "norm",
}
TABLES = {
    "words.weight": "token_embedding/embeddings",
    "positions.weight": "position_embedding/embeddings",
    "segments.weight": "segment_embedding/embeddings",
}


def keras_names(architecture: str, layers: int) -> dict[str, tuple[str, ...]]:
    """Return the Keras variables of each parameter; three of them for the joined projections.

    A Keras variable's path may begin with more than the name given here.
    """
    bert = architecture == "bert"
    names: dict[str, tuple[str, ...]] = {
        "pooler.weight": ("pooled_dense/kernel",),
        "pooler.bias": ("pooled_dense/bias",),
        "head.weight": ("logits/kernel",),
        "head.bias": ("logits/bias",),
        "norm.weight": ("embeddings_layer_norm/gamma",),
        "norm.bias": ("embeddings_layer_norm/beta",),
    }
    for place in range(layers):
        layer, path = f"layers.{place}", f"transformer_layer_{place}"
        inside = "self_attention_layer/" if bert else ""
        for kind, keras in (("weight", "kernel"), ("bias", "bias")):
            parts = ("query", "key", "value")
            names[f"{layer}.qkv.{kind}"] = tuple(f"{path}/{inside}{p}/{keras}" for p in parts)
            for part in ("output", "up", "down"):
                name = (_BERT if bert else _MPNET)[part]
                names[f"{layer}.{part}.{kind}"] = (f"{path}/{name}/{keras}",)
        for kind, keras in (("weight", "gamma"), ("bias", "beta")):
            for part in ("attention_norm", "norm"):
                name = (_BERT if bert else _MPNET)[part]
                names[f"{layer}.{part}.{kind}"] = (f"{path}/{name}/{keras}",)
    return names


def full_name(suffix: str, variables: Mapping[str, Any]) -> str:
    """Return the one path that ends with a name."""
    matches = [path for path in variables if path == suffix or path.endswith(f"/{suffix}")]
    if len(matches) != 1:
        raise KeyError(f"{suffix}: {matches}")
    return matches[0]


def to_torch(name: str, parts: list[Array]) -> Array:
    """Join Keras's arrays into a parameter; a kernel [inputs, outputs] becomes its transpose."""
    if not name.endswith(".weight") or parts[0].ndim == 1:
        return np.concatenate([part.reshape(-1) for part in parts])
    return np.concatenate([_matrix(name, part).T for part in parts])


def to_keras(name: str, value: Array, shapes: list[tuple[int, ...]]) -> list[Array]:
    """Undo `to_torch`."""
    pieces = np.split(value, len(shapes))
    if name.endswith(".weight") and value.ndim > 1:
        pieces = [piece.T for piece in pieces]
    return [piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True)]


def _matrix(name: str, kernel: Array) -> Array:
    """Return a kernel of any axes as [inputs, outputs]."""
    if name.endswith(".output.weight"):
        return kernel.reshape(-1, kernel.shape[-1])
    return kernel.reshape(kernel.shape[0], -1)
