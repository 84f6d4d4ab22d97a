"""Access to private attributes of Keras's and KerasHub's layers.

Only this module reads private attributes, which is why the versions of both are pinned.
"""

import math
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras.src.models.functional import Functional
from keras.src.utils.python_utils import func_load


class TransformerParts(NamedTuple):
    """The layers inside a `TransformerEncoder`, which is a layer of a BERT."""

    query: Any
    key: Any
    value: Any
    attention_output: Any
    attention_norm: Any
    up: Any
    down: Any
    norm: Any


def transformer_parts(layer: Any) -> TransformerParts:
    """Return the parts of a `TransformerEncoder`, or of our own layer with named parts."""
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
    """Return the first dense layers of a model's feed-forward blocks, for any family."""
    name = "_feedforward_intermediate_dense"
    return [getattr(layer, name) for layer in sublayers(model) if hasattr(layer, name)]


def sublayers(model: Any) -> list[Any]:
    """Return every layer of a model, including nested ones."""
    return list(model._flatten_layers())


def is_functional(model: Any) -> bool:
    """Return whether a model is a graph of layers: Functional, or a built Sequential."""
    return isinstance(model, Functional) or getattr(model, "_functional", None) is not None


def runs_its_graph(model: Any) -> bool:
    """Tell whether a model that is a graph of layers computes it, and has no call of its own."""
    return type(model).call in {Functional.call, keras.Sequential.call}


def producer(tensor: Any) -> tuple[Any, tuple[Any, ...], tuple[Any, ...]]:
    """Return the operation that produced a symbolic tensor, and all tensors of that call.

    Returns:
        The layer or operation, its input tensors and its output tensors.
    """
    history = tensor._keras_history
    node = history.operation._inbound_nodes[history.node_index]
    return history.operation, tuple(node.input_tensors), tuple(node.output_tensors)


def call_again(tensor: Any, values: dict[int, Any]) -> tuple[Any, ...]:
    """Repeat the call that produced a symbolic tensor, on other values.

    Args:
        tensor: an output of the call.
        values: the replacement of each input of the call, by
            its `id`.

    Returns:
        The new outputs of the call, in the order of `producer`.
    """
    history = tensor._keras_history
    node = history.operation._inbound_nodes[history.node_index]
    given, named = node.arguments.fill_in(values)
    return tuple(keras.tree.flatten(history.operation(*given, **named)))


def argument_names(tensor: Any, consumed: Any) -> list[str]:
    """Return the dictionary keys of `consumed` in the call that produced `tensor`."""
    history = tensor._keras_history
    arguments = history.operation._inbound_nodes[history.node_index].arguments
    given = [one for one in (*arguments.args, *arguments.kwargs.values()) if isinstance(one, dict)]
    return [str(key) for one in given for key, value in one.items() if value is consumed]


def merged_kernel(layer: Any) -> npt.NDArray[np.float32]:
    """Return a layer's kernel with its LoRA update.

    It is in fp32, whatever the precision of the layer; `layer.kernel` would be rounded.
    """
    update = layer.lora_kernel_a.numpy() @ layer.lora_kernel_b.numpy()
    scale = layer.lora_alpha / layer.lora_rank
    return np.asarray(layer._kernel.numpy() + scale * update, np.float32)


def kernel_path(layer: Any) -> str:
    """Return the path that a layer's kernel has in a model without LoRA."""
    return str(layer._kernel.path)


def made_by(tensor: Any) -> tuple[Any, list[Any]]:
    """Return the layer that produced a symbolic tensor, and its input tensors."""
    history = tensor._keras_history
    return history.operation, history.operation._inbound_nodes[history.node_index].input_tensors


def name_modules_of_lambdas() -> None:
    """Give the function of a `Lambda` layer access to modules that its program had imported.

    A file keeps the code of a function and not its globals. Keras gives the code the globals of
    one of its own modules, in which even `keras` has no name. Existing names of that module do not
    change.
    """
    names = func_load.__globals__
    for name, module in {
        "keras": keras,
        "layers": keras.layers,
        "ops": keras.ops,
        "K": keras.backend,
        "tf": tf,
        "tensorflow": tf,
        "np": np,
        "numpy": np,
        "math": math,
    }.items():
        names.setdefault(name, module)
