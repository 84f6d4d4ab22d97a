"""The head of a saved classifier: what makes scores of its logits, and how many it gives."""

from typing import Any

import keras

from semserve_export.errors import WeightsError
from semserve_export.model_spec import Scores

SCORES: dict[str, Scores] = {"linear": "softmax", "softmax": "softmax", "sigmoid": "sigmoid"}
"""By the name of the last layer's activation. A head without one was trained on its logits, with
a loss that takes their softmax."""


def take_scores(model: Any) -> Scores:
    """Remove the activation of a classifier's last layer, and tell which scores it stood for.

    Args:
        model: a KerasHub text classifier; it gives logits afterwards.

    Raises:
        WeightsError: the server has no such activation, or the head has one output alone.
    """
    require_labels(model.num_classes)
    activation = model.output_dense.activation
    name = getattr(activation, "__name__", None) or type(activation).__name__
    if name not in SCORES:
        raise WeightsError(
            f"the head's activation is {name}; what can be served is softmax, sigmoid or none"
            " (logits)"
        )
    model.output_dense.activation = keras.activations.linear
    return SCORES[name]


def require_labels(outputs: int) -> None:
    """Refuse a head that does not choose among labels.

    Raises:
        WeightsError: it has fewer than two outputs.
    """
    if outputs < 2:  # noqa: PLR2004 - a classifier chooses
        raise WeightsError(
            "the head has one output: a regression, a sigmoid score or a cross-encoder, which"
            " cannot be served yet; a classifier needs two labels or more"
        )
