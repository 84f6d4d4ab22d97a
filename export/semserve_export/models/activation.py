"""The activation of a model's feed-forward blocks, as its weights were trained with it."""

from typing import Any

import keras

from semserve_export.model_spec import Activation
from semserve_export.models.keras_internals import feed_forward_layers

SQRT_HALF = 0.5**0.5


def set_activation(backbone: Any, activation: Activation) -> None:
    """Give every feed-forward block, of any family, the activation that it was trained with."""
    function = FUNCTIONS[activation]
    for dense in feed_forward_layers(backbone):
        dense.activation = function


def gelu_erf(x: Any) -> Any:
    """GELU by the error function, as BERT was trained; KerasHub always uses the tanh form.

    Written out, since TensorFlow's own runs on Erfc, which tf2onnx cannot convert.
    """
    return 0.5 * x * (1 + keras.ops.erf(x * SQRT_HALF))


def gelu_tanh(x: Any) -> Any:
    """GELU by the tanh approximation, which a model fine-tuned in plain KerasHub has learnt."""
    return keras.activations.gelu(x, approximate=True)


FUNCTIONS = {
    "erf": gelu_erf,
    "tanh": gelu_tanh,
    "relu": keras.activations.relu,
    "silu": keras.activations.silu,
}
