"""The head of a Keras model: what its outputs are, and the graph before the last activation."""

from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import ops

from semserve_export.bundle.tolerance import Rows
from semserve_export.model_spec import Scores
from semserve_export.models.keras_internals import made_by

ACTIVATIONS: dict[str, Scores] = {"softmax": "softmax", "sigmoid": "sigmoid"}
LOSSES: dict[str, Scores] = {
    "categorical_crossentropy": "softmax",
    "sparse_categorical_crossentropy": "softmax",
    "categorical_focal_crossentropy": "softmax",
    "binary_crossentropy": "sigmoid",
    "binary_focal_crossentropy": "sigmoid",
}
"""What makes scores of logits, by the loss of the training."""
POOLING_NAMES: dict[Any, str] = {
    keras.layers.GlobalAveragePooling1D: "mean",
    keras.layers.GlobalMaxPooling1D: "max",
    keras.layers.RNN: "last",
    keras.layers.Bidirectional: "last",
}
POOLINGS = (*POOLING_NAMES, keras.layers.UnitNormalization)
"""Layers whose output is an embedding, not scores of labels."""
SMALLEST = 1e-37  # of a probability whose logarithm is taken, in fp32
CLOSE = 1e-5


@dataclass(frozen=True, slots=True)
class Loss:
    """The loss that a model was trained with."""

    name: str | None = None  # such as binary_crossentropy; None: not known
    from_logits: bool = False

    @classmethod
    def of_model(cls, model: Any) -> "Loss":
        """Read the loss of a live model, which is a name, a function or an object of Keras."""
        loss = getattr(model, "loss", None)
        if isinstance(loss, dict):
            loss = list(loss.values())
        if isinstance(loss, list | tuple):
            loss = loss[0] if len(loss) == 1 else None
        if not isinstance(loss, str):
            name = getattr(loss, "name", None) or getattr(loss, "__name__", None)
            from_logits = getattr(loss, "from_logits", False) is True
            return cls(name if isinstance(name, str) else None, from_logits=from_logits)
        return cls(loss)


@dataclass(frozen=True, slots=True)
class Head:
    """What is known of a model's outputs."""

    outputs: int
    scores: Scores | None  # the activation that its outputs went through; None: none, or unknown
    dense: bool  # whether a Dense layer without an activation makes them
    body: Any = None  # the model up to the activation, where it can be cut there
    bounded: bool = False  # whether its outputs look like probabilities, and nothing tells which
    pools: bool = False  # whether its last layer makes one vector of many, as an encoder's does


def read_head(model: Any, rows: Rows, loss: Loss, stated: Scores | None = None) -> Head:
    """Look at the last layer of a model, or at its outputs where that layer does not tell.

    Args:
        model: Functional, Sequential or of a class of its own.
        rows: its outputs for some texts: fp32 [texts, outputs].
        loss: of its training.
        stated: the activation that the caller states.
    """
    outputs = getattr(model, "outputs", None)
    if not outputs:
        return _seen(rows, loss, stated)
    last, inputs = made_by(outputs[0])
    dense = type(last) is keras.layers.Dense
    name = _activation_of(last)
    scores = ACTIVATIONS.get(name)
    if scores is None and dense and name == "linear":
        return Head(rows.shape[1], None, dense=True)
    if scores is None:
        return replace(_seen(rows, loss, stated), pools=isinstance(last, POOLINGS))
    body = None
    if dense:
        body = _without_activation(model, inputs[0], last)
    elif type(last) in {keras.layers.Softmax, keras.layers.Activation}:
        body = keras.Model(model.inputs, inputs[0])
    return Head(rows.shape[1], scores, dense=dense, body=body)


def read_pooling(model: Any) -> str:
    """Tell how a model makes one vector of many, by the last layer that does; else `custom`."""
    for layer in reversed(model.layers):
        for kind, name in POOLING_NAMES.items():
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


def _activation_of(layer: Any) -> str:
    """Return the name of the activation that a layer applies last, or an empty name.

    An LSTM has an activation too, and its output is a product of two. What a class of the user's
    own applies last, only its outputs tell.
    """
    if type(layer) is keras.layers.Softmax:
        return "softmax"
    kinds = keras.layers.Dense, keras.layers.EinsumDense, keras.layers.Activation
    return getattr(layer.activation, "__name__", "") if type(layer) in kinds else ""


def _without_activation(model: Any, taken: Any, last: Any) -> Any:
    """Build the model with its last Dense layer without the activation, on the same weights."""
    bare = keras.layers.Dense(last.units, use_bias=last.use_bias, name=f"{last.name}_logits")
    outputs = bare(taken)
    bare.kernel.assign(last.kernel)  # with what LoRA has learnt, where it is on
    if last.use_bias:
        bare.bias.assign(last.bias)
    return keras.Model(model.inputs, outputs)


def _seen(rows: Rows, loss: Loss, stated: Scores | None) -> Head:
    """Tell from a model's outputs whether an activation made them, as its last layer does not tell.

    A layer after the activation (a cast, Dropout, Reshape), an operation of keras.ops, a Lambda and
    a class of its own hide the activation. Without this, the server would apply it once more.
    """
    outputs = rows.shape[1]
    if loss.from_logits or rows.min() < 0 or rows.max() > 1 + CLOSE:
        return Head(outputs, None, dense=False)
    if outputs > 1 and np.abs(rows.sum(axis=1) - 1).max() <= CLOSE:
        return Head(outputs, "softmax", dense=False)
    if "sigmoid" in (stated, LOSSES.get(loss.name or "")):
        return Head(outputs, "sigmoid", dense=False)
    return Head(outputs, None, dense=False, bounded=outputs > 1)
