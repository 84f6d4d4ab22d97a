"""Sets the activation of feed-forward blocks to the one that the weights were trained with."""

from typing import Any

import keras

from semserve_export.model_spec import Activation
from semserve_export.models.keras_internals import feed_forward_layers

SQRT_HALF = 0.5**0.5


def set_activation(backbone: Any, activation: Activation) -> None:
    """Set the activation of every feed-forward block, of any family."""
    function = FUNCTIONS[activation]
    for dense in feed_forward_layers(backbone):
        dense.activation = function


def gelu_erf(x: Any) -> Any:
    """GELU by the error function, as BERT was trained; KerasHub always uses the tanh form.

    It is written out, because TensorFlow's own uses Erfc, which tf2onnx cannot convert.
    """
    return 0.5 * x * (1 + keras.ops.erf(x * SQRT_HALF))


def gelu_tanh(x: Any) -> Any:
    """GELU by the tanh approximation, with which KerasHub fine-tunes models."""
    return keras.activations.gelu(x, approximate=True)


FUNCTIONS = {
    "erf": gelu_erf,
    "tanh": gelu_tanh,
    "relu": keras.activations.relu,
    "silu": keras.activations.silu,
}
