"""The head of a Keras model: the meaning of its outputs, and the graph without the activation."""

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
"""The function from logits to scores, by the loss of the training."""
POOLING_NAMES: dict[Any, str] = {
    keras.layers.GlobalAveragePooling1D: "mean",
    keras.layers.GlobalMaxPooling1D: "max",
    keras.layers.RNN: "last",
    keras.layers.Bidirectional: "last",
}
POOLINGS = (*POOLING_NAMES, keras.layers.UnitNormalization)
"""Layers whose output is an embedding instead of scores."""
SMALLEST = 1e-37  # minimum probability for the logarithm in fp32
CLOSE = 1e-5


@dataclass(frozen=True, slots=True)
class Loss:
    """The loss of a model's training."""

    name: str | None = None  # such as binary_crossentropy; None if unknown
    from_logits: bool = False

    @classmethod
    def of_model(cls, model: Any) -> "Loss":
        """Read the loss of a model in memory: a name, a function or an object of Keras."""
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
class KerasHead:
    """The detected properties of a model's outputs."""

    outputs: int
    scores: Scores | None  # the activation of its outputs; None if there is none or it is unknown
    dense: bool  # whether the last layer is a Dense layer without an activation
    body: Any = None  # the model without the activation, if it can be removed
    bounded: bool = False  # whether its outputs look like probabilities of unknown origin
    pools: bool = False  # whether its last layer pools vectors, as in an encoder


def read_keras_head(model: Any, rows: Rows, loss: Loss, stated: Scores | None = None) -> KerasHead:
    """Inspect the last layer of a model, or its outputs if the layer is not conclusive.

    Args:
        model: Functional, Sequential or a subclass.
        rows: its outputs for some texts, fp32 [texts, outputs].
        loss: the loss of its training.
        stated: the activation that the options specify.
    """
    outputs = getattr(model, "outputs", None)
    if not outputs:
        return _seen(rows, loss, stated)
    last, inputs = made_by(outputs[0])
    dense = type(last) is keras.layers.Dense
    name = _activation_of(last)
    scores = ACTIVATIONS.get(name)
    if scores is None and dense and name == "linear":
        return KerasHead(rows.shape[1], None, dense=True)
    if scores is None:
        return replace(_seen(rows, loss, stated), pools=isinstance(last, POOLINGS))
    body = None
    if dense:
        body = _without_activation(model, inputs[0], last)
    elif type(last) in {keras.layers.Softmax, keras.layers.Activation}:
        body = keras.Model(model.inputs, inputs[0])
    return KerasHead(rows.shape[1], scores, dense=dense, body=body)


def read_pooling(model: Any) -> str:
    """Return the pooling of a model by its last pooling layer; otherwise `custom`."""
    for layer in reversed(model.layers):
        for kind, name in POOLING_NAMES.items():
            if isinstance(layer, kind):
                return name
    return "custom"


def as_logits(outputs: Any, scores: Scores) -> Any:
    """Convert probabilities to logits, from which the server computes the same probabilities.

    The softmax of log p is p; the sigmoid of log p - log (1 - p) is p.

    Args:
        outputs: a Keras tensor of probabilities, fp32 [batch, outputs].
        scores: the function that computed them.
    """
    logarithm = ops.log(ops.maximum(outputs, SMALLEST))
    if scores == "softmax":
        return logarithm
    return logarithm - ops.log(ops.maximum(1 - outputs, SMALLEST))


def apply_scores(logits: Rows, scores: Scores | None) -> Rows:
    """Convert logits to scores as the server does: fp32 [texts, outputs]."""
    if scores == "softmax":
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)
    if scores == "sigmoid":
        return np.asarray(1 / (1 + np.exp(-logits.astype(np.float64))), np.float32)
    return logits


def _activation_of(layer: Any) -> str:
    """Return the name of the last activation of a layer, or an empty name.

    An LSTM also has an activation, but its output is a product of two activations. The last
    activation of a user's own class is known only from its outputs.
    """
    if type(layer) is keras.layers.Softmax:
        return "softmax"
    kinds = keras.layers.Dense, keras.layers.EinsumDense, keras.layers.Activation
    return getattr(layer.activation, "__name__", "") if type(layer) in kinds else ""


def _without_activation(model: Any, taken: Any, last: Any) -> Any:
    """Build the model without the activation of its last Dense layer, on the same weights."""
    bare = keras.layers.Dense(last.units, use_bias=last.use_bias, name=f"{last.name}_logits")
    outputs = bare(taken)
    bare.kernel.assign(last.kernel)  # with what LoRA has learnt, where it is on
    if last.use_bias:
        bare.bias.assign(last.bias)
    return keras.Model(model.inputs, outputs)


def _seen(rows: Rows, loss: Loss, stated: Scores | None) -> KerasHead:
    """Detect an activation from the outputs of a model whose last layer is not conclusive.

    A layer after the activation (a cast, Dropout, Reshape), an operation of keras.ops, a Lambda or
    a subclass hides the activation. Without this check, the server would apply it a second time.
    """
    outputs = rows.shape[1]
    if loss.from_logits or rows.min() < 0 or rows.max() > 1 + CLOSE:
        return KerasHead(outputs, None, dense=False)
    if outputs > 1 and np.abs(rows.sum(axis=1) - 1).max() <= CLOSE:
        return KerasHead(outputs, "softmax", dense=False)
    if "sigmoid" in (stated, LOSSES.get(loss.name or "")):
        return KerasHead(outputs, "sigmoid", dense=False)
    return KerasHead(outputs, None, dense=False, bounded=outputs > 1)
