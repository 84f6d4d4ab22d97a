"""The parts of Keras's and KerasHub's layers that have no public name.

This is the one module that reads their private attributes, which is why both are pinned.
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


def is_functional(model: Any) -> bool:
    """Tell whether a model is a graph of layers: a Functional model, or a Sequential once built."""
    return isinstance(model, Functional) or getattr(model, "_functional", None) is not None


def runs_its_graph(model: Any) -> bool:
    """Tell whether a model that is a graph of layers computes it, and has no call of its own."""
    return type(model).call in {Functional.call, keras.Sequential.call}


def producer(tensor: Any) -> tuple[Any, tuple[Any, ...], tuple[Any, ...]]:
    """Return the operation that gave a symbolic tensor, and all tensors of that call.

    Returns:
        The layer or operation, the tensors that it took and the tensors that it gave.
    """
    history = tensor._keras_history
    node = history.operation._inbound_nodes[history.node_index]
    return history.operation, tuple(node.input_tensors), tuple(node.output_tensors)


def call_again(tensor: Any, values: dict[int, Any]) -> tuple[Any, ...]:
    """Repeat the call that gave a symbolic tensor, on other values.

    Args:
        tensor: one of those that the call gave.
        values: what stands for each symbolic tensor that the call took, by its `id`.

    Returns:
        What stands for each tensor that the call gave, in the order of `producer`.
    """
    history = tensor._keras_history
    node = history.operation._inbound_nodes[history.node_index]
    given, named = node.arguments.fill_in(values)
    return tuple(keras.tree.flatten(history.operation(*given, **named)))


def argument_names(tensor: Any, consumed: Any) -> list[str]:
    """Return the keys under which a call that gave `tensor` took `consumed` in a dictionary."""
    history = tensor._keras_history
    arguments = history.operation._inbound_nodes[history.node_index].arguments
    given = [one for one in (*arguments.args, *arguments.kwargs.values()) if isinstance(one, dict)]
    return [str(key) for one in given for key, value in one.items() if value is consumed]


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


def name_modules_of_lambdas() -> None:
    """Let the function of a `Lambda` layer find the modules that its program had imported.

    A file keeps the code of a function and not its globals. Keras gives the code the globals of
    one of its own modules, in which even `keras` has no name. What that module has stays.
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
