"""The head of a Keras model: what its outputs are, and the graph before the last activation."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from semserve_export.bundle.tolerance import Rows
from semserve_export.model_spec import Scores
from semserve_export.models.keras_internals import made_by

ACTIVATIONS: dict[str, Scores] = {"softmax": "softmax", "sigmoid": "sigmoid"}
SMALLEST = 1e-37  # of a probability whose logarithm is taken, in fp32
CLOSE = 1e-5


@dataclass(frozen=True, slots=True)
class Head:
    """What is known of a model's outputs."""

    outputs: int
    scores: Scores | None  # the activation that its outputs went through; None: none, or unknown
    dense: bool  # whether a Dense layer without an activation makes them
    body: Any = None  # the model up to the activation, where it can be cut there


def read_head(model: Any, rows: Rows) -> Head:
    """Look at the last layer of a model, or at its outputs where its layers are not in a graph.

    Args:
        model: Functional, Sequential or of a class of its own.
        rows: its outputs for some texts: fp32 [texts, outputs].
    """
    outputs = getattr(model, "outputs", None)
    if not outputs:
        return Head(rows.shape[1], _seen(rows), dense=False)
    last, inputs = made_by(outputs[0])
    dense = isinstance(last, keras.layers.Dense)
    if isinstance(last, keras.layers.Softmax):
        name = "softmax"
    else:
        name = getattr(getattr(last, "activation", None), "__name__", "")
    scores = ACTIVATIONS.get(name)
    if scores is None:
        nested = isinstance(last, keras.Model)
        return Head(rows.shape[1], _seen(rows) if nested else None, dense and name == "linear")
    body = None
    if dense:
        body = _without_activation(model, inputs[0], last)
    elif isinstance(last, keras.layers.Softmax | keras.layers.Activation):
        body = keras.Model(model.inputs, inputs[0])
    return Head(rows.shape[1], scores, dense, body)


def read_pooling(model: Any) -> str:
    """Tell how a model makes one vector of many, by the last layer that does; else `custom`."""
    kinds = {
        keras.layers.GlobalAveragePooling1D: "mean",
        keras.layers.GlobalMaxPooling1D: "max",
        keras.layers.RNN: "last",
        keras.layers.Bidirectional: "last",
    }
    for layer in reversed(model.layers):
        for kind, name in kinds.items():
            if isinstance(layer, kind):
                return name
    return "custom"


def as_logits(outputs: Any, scores: Scores) -> Any:
    """Turn probabilities back into logits, of which the server makes the same probabilities.

    The softmax of log p is p; the sigmoid of log p - log (1 - p) is p.

    Args:
        outputs: a Keras tensor of probabilities, fp32 [batch, outputs].
        scores: what made them.
    """
    logarithm = ops.log(ops.maximum(outputs, SMALLEST))
    if scores == "softmax":
        return logarithm
    return logarithm - ops.log(ops.maximum(1 - outputs, SMALLEST))


def apply_scores(logits: Rows, scores: Scores | None) -> Rows:
    """Make scores of logits as the server does: fp32 [texts, outputs]."""
    if scores == "softmax":
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)
    if scores == "sigmoid":
        return np.asarray(1 / (1 + np.exp(-logits.astype(np.float64))), np.float32)
    return logits


def _without_activation(model: Any, taken: Any, last: Any) -> Any:
    """Build the model with its last Dense layer without the activation, on the same weights."""
    bare = keras.layers.Dense(last.units, use_bias=last.use_bias, name=f"{last.name}_logits")
    outputs = bare(taken)
    bare.set_weights(last.get_weights())
    return keras.Model(model.inputs, outputs)


def _seen(rows: Rows) -> Scores | None:
    """Tell from a model's outputs whether they are probabilities of classes."""
    if rows.shape[1] < 2 or rows.min() < 0:  # noqa: PLR2004 - classes
        return None
    return "softmax" if np.abs(rows.sum(axis=1) - 1).max() <= CLOSE else None
