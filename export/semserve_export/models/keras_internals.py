"""The parts of Keras's and KerasHub's layers that have no public name.

This is the one module that reads their private attributes, which is why both are pinned.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt


class TransformerParts(NamedTuple):
    """The layers inside a `TransformerEncoder`, such as each layer of a BERT is."""

    query: Any
    key: Any
    value: Any
    attention_output: Any
    attention_norm: Any
    up: Any
    down: Any
    norm: Any


def transformer_parts(layer: Any) -> TransformerParts:
    """Return what a `TransformerEncoder`, or a layer of ours that names its parts, is made of."""
    if hasattr(layer, "parts"):
        parts: TransformerParts = layer.parts()
        return parts
    attention = layer._self_attention_layer
    return TransformerParts(
        query=attention._query_dense,
        key=attention._key_dense,
        value=attention._value_dense,
        attention_output=attention._output_dense,
        attention_norm=layer._self_attention_layer_norm,
        up=layer._feedforward_intermediate_dense,
        down=layer._feedforward_output_dense,
        norm=layer._feedforward_layer_norm,
    )


def feed_forward_layers(model: Any) -> list[Any]:
    """Return the dense layers that a model's feed-forward blocks begin with, of any family."""
    name = "_feedforward_intermediate_dense"
    return [getattr(layer, name) for layer in sublayers(model) if hasattr(layer, name)]


def sublayers(model: Any) -> list[Any]:
    """Return every layer of a model, those inside others too."""
    return list(model._flatten_layers())


def merged_kernel(layer: Any) -> npt.NDArray[np.float32]:
    """Return a layer's kernel with what LoRA has learnt added to it.

    It is in fp32 whatever the layer computes in; `layer.kernel` would be rounded to that.
    """
    update = layer.lora_kernel_a.numpy() @ layer.lora_kernel_b.numpy()
    scale = layer.lora_alpha / layer.lora_rank
    return np.asarray(layer._kernel.numpy() + scale * update, np.float32)


def kernel_path(layer: Any) -> str:
    """Return the path that a layer's kernel has in a model without LoRA."""
    return str(layer._kernel.path)


def made_by(tensor: Any) -> tuple[Any, list[Any]]:
    """Return the layer that gives a symbolic tensor, and the tensors that it took for it."""
    history = tensor._keras_history
    return history.operation, history.operation._inbound_nodes[history.node_index].input_tensors
