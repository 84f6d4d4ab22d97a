"""KerasHub's BERT: loading it with the right activation, and the two heads on top of it.

This is the one module that reads KerasHub's private attributes, which is why its version is pinned.
"""

from typing import Any

import keras
import keras_hub

from semserve_export.spec import Activation

SQRT_HALF = 0.5**0.5
FROZEN = ("token_embedding", "position_embedding", "segment_embedding", "embeddings_layer_norm")


def load_backbone(preset: str, activation: Activation, *, dropout: float = 0) -> Any:
    """Load a `BertBackbone` from a KerasHub preset or a Hugging Face directory, in float32."""
    backbone = keras_hub.models.BertBackbone.from_preset(preset, dropout=dropout, dtype="float32")
    set_activation(backbone, activation)
    return backbone


def set_activation(backbone: Any, activation: Activation) -> None:
    """Give every feed-forward block the activation that its weights were trained with."""
    function = {"erf": gelu_erf, "tanh": gelu_tanh}[activation]
    for layer in backbone.transformer_layers:
        layer._feedforward_intermediate_dense.activation = function  # noqa: SLF001 - no public way


def gelu_erf(x: Any) -> Any:
    """GELU by the error function, as BERT was trained; KerasHub always uses the tanh form.

    Written out, since TensorFlow's own runs on Erfc, which tf2onnx cannot convert.
    """
    return 0.5 * x * (1 + keras.ops.erf(x * SQRT_HALF))


def gelu_tanh(x: Any) -> Any:
    """GELU by the tanh approximation, which a model fine-tuned in plain KerasHub has learnt."""
    return keras.activations.gelu(x, approximate=True)


def make_embedder(backbone: Any, pooling: str, *, normalize: bool) -> Any:
    """Put pooling over the real tokens, and L2, on the backbone: fp32 [batch, hidden] comes out."""
    return keras_hub.models.BertTextEmbedder(
        backbone, preprocessor=None, pooling_mode=pooling, normalize=normalize
    )


def make_classifier(backbone: Any, classes: int, *, dropout: float = 0) -> Any:
    """Put a fresh head on the pooled output: fp32 logits [batch, classes] come out."""
    return keras_hub.models.BertTextClassifier(
        backbone, num_classes=classes, preprocessor=None, dropout=dropout
    )


def freeze_embeddings(backbone: Any) -> None:
    """Keep the embedding tables and their norm as they are: half of the values, for no accuracy."""
    for name in FROZEN:
        backbone.get_layer(name).trainable = False
