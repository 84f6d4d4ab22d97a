"""KerasHub's BERT: loading it with the right activation, its two heads, and reading its weights.

This is the one module that reads KerasHub's private attributes, which is why its version is pinned.
"""

from typing import Any

import keras
import keras_hub
import numpy as np

from semserve_export.bert_weights import (
    Array,
    Bert,
    Classifier,
    Dense,
    Embeddings,
    Layer,
    Norm,
    Pool,
)
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
    if pooling == "pooled":
        return PooledEmbedder(backbone, normalize=normalize)
    return keras_hub.models.BertTextEmbedder(
        backbone, preprocessor=None, pooling_mode=pooling, normalize=normalize
    )


class PooledEmbedder(keras.Model):  # type: ignore[misc]  # Keras has no types
    """The backbone's `pooled_output`, a dense layer and tanh on the first token, as an embedding.

    KerasHub's `BertTextEmbedder` has no such pooling; the attributes have its names.
    """

    def __init__(self, backbone: Any, *, normalize: bool) -> None:
        pooled = backbone(backbone.input)["pooled_output"]
        super().__init__(backbone.input, keras.ops.normalize(pooled) if normalize else pooled)
        self.backbone, self.pooling_mode, self.normalize = backbone, "pooled", normalize


def make_classifier(backbone: Any, classes: int, *, dropout: float = 0) -> Any:
    """Put a fresh head on the pooled output: fp32 logits [batch, classes] come out."""
    return keras_hub.models.BertTextClassifier(
        backbone, num_classes=classes, preprocessor=None, dropout=dropout
    )


EMBEDDERS = (keras_hub.models.BertTextEmbedder, PooledEmbedder)


def freeze_embeddings(backbone: Any) -> None:
    """Keep the embedding tables and their norm as they are: half of the values, for no accuracy."""
    for name in FROZEN:
        backbone.get_layer(name).trainable = False


def is_bert(model: Any) -> bool:
    """Tell whether `read_weights` knows the model: an embedder or classifier on a BertBackbone."""
    known = (*EMBEDDERS, keras_hub.models.BertTextClassifier)
    return isinstance(model, known) and type(model.backbone) is keras_hub.models.BertBackbone


def read_weights(model: Any, activation: Activation) -> Bert:
    """Read an embedder's or a classifier's weights; LoRA comes merged, as `kernel` has it."""
    backbone = model.backbone
    if isinstance(model, EMBEDDERS):
        pooler = _dense(backbone.pooled_dense) if model.pooling_mode == "pooled" else None
        head: Pool | Classifier = Pool(model.pooling_mode, model.normalize, pooler)
    else:
        head = Classifier(_dense(backbone.pooled_dense), _dense(model.output_dense))
    return Bert(
        embeddings=Embeddings(
            tokens=_array(backbone.token_embedding.embeddings),
            positions=_array(backbone.position_embedding.position_embeddings),
            segments=_array(backbone.segment_embedding.embeddings),
            norm=_norm(backbone.embeddings_layer_norm),
        ),
        layers=tuple(_layer(layer) for layer in backbone.transformer_layers),
        head=head,
        heads=backbone.num_heads,
        epsilon=backbone.embeddings_layer_norm.epsilon,
        activation=activation,
    )


def _layer(layer: Any) -> Layer:
    attention = layer._self_attention_layer  # noqa: SLF001 - no public way to any of these
    return Layer(
        query=_dense(attention._query_dense),  # noqa: SLF001
        key=_dense(attention._key_dense),  # noqa: SLF001
        value=_dense(attention._value_dense),  # noqa: SLF001
        attention_output=_dense(attention._output_dense),  # noqa: SLF001
        attention_norm=_norm(layer._self_attention_layer_norm),  # noqa: SLF001
        up=_dense(layer._feedforward_intermediate_dense),  # noqa: SLF001
        down=_dense(layer._feedforward_output_dense),  # noqa: SLF001
        norm=_norm(layer._feedforward_layer_norm),  # noqa: SLF001
    )


def _dense(layer: Any) -> Dense:
    """Flatten a kernel over heads, (hidden, heads, width) or (heads, width, hidden), to two axes.

    The bias knows which axes are the outputs: it has just those.
    """
    kernel, bias = _array(layer.kernel), _array(layer.bias)
    return Dense(kernel.reshape(-1, bias.size), bias.reshape(-1))


def _norm(layer: Any) -> Norm:
    return Norm(_array(layer.gamma), _array(layer.beta))


def _array(variable: Any) -> Array:
    return np.asarray(variable, np.float32)
