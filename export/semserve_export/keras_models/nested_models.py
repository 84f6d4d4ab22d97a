"""Converts nested models and subclassed models to one graph of layers."""

import inspect
from typing import Any

import keras

from semserve_export.errors import WeightsError
from semserve_export.failures import reason_of
from semserve_export.models.keras_internals import is_functional, made_by, sublayers

MOST_NESTED = 8  # levels of nested models that are searched for a layer
SHAPING = ("ConvertToTensor", "ExpandDims", "Flatten", "Identity", "Reshape", "Squeeze")
"""Classes of layers and operations that leave each text as it is."""


def with_nested_open(model: Any, layer: Any) -> Any:
    """Return an equivalent Functional or Sequential model that has the layer at its top level.

    Args:
        model: contains the layer, directly or in a nested model.
        layer: tokenises texts.

    Raises:
        WeightsError: the layer is not inside a model, or the model's code cannot run on symbolic
            tensors.
    """
    if not is_functional(model):
        model = _traced(model)
    for _ in range(MOST_NESTED):
        if layer in model.layers:
            return model
        holders = {
            id(each)
            for each in model.layers
            if isinstance(each, keras.Model) and layer in sublayers(each)
        }
        if not holders:
            break
        model = inlined(model, holders)
    raise WeightsError(
        f"the TextVectorization layer {layer.name} is inside a layer of the model; export the part"
        " that takes its ids, and give the layer as tokenizer"
    )


def inlined(model: Any, opened: set[int]) -> Any:
    """Return a Functional model in which nested models are replaced by their layers.

    Args:
        model: Functional.
        opened: the `id` of each nested model to replace.
    """

    def call(layer: Any, *given: Any, **named: Any) -> Any:
        if id(layer) not in opened:
            return layer(*given, **named)
        named = {key: value for key, value in named.items() if key in parameters(layer.call)}
        return layer.call(*given, **named)

    return keras.models.clone_model(
        keras.Model(model.inputs, model.outputs),
        clone_function=lambda layer: layer,
        call_function=call,
    )


def output_of(layer: Any, model: Any) -> Any:
    """Return the output of a layer in a model; the layer may also be used in other models."""
    waiting, seen = list(model.outputs), set[int]()
    while waiting:
        tensor = waiting.pop()
        maker, taken = made_by(tensor)
        if maker is layer:
            return tensor
        new = [one for one in taken if id(one) not in seen]
        seen |= {id(one) for one in new}
        waiting += new
    raise WeightsError(f"the model's output does not depend on its layer {layer.name}")


def second_use(name: str) -> WeightsError:
    """Return the error for a text that a second layer uses, besides the layer that tokenises it."""
    return WeightsError(
        f"the model uses its input {name} in another way too than as the token ids that one layer"
        " makes of it; export a model of these ids alone, with their tokenizer"
    )


def require_unchanged(texts: Any, layer: Any) -> None:
    """Refuse a model that changes its texts before a layer reads them.

    Args:
        texts: the symbolic tensor that the layer takes.
        layer: reads texts.

    Raises:
        WeightsError: it names what changes them.
    """
    maker, taken = made_by(texts)
    while type(maker).__name__ in SHAPING:
        maker, taken = made_by(taken[0])
    if not isinstance(maker, keras.layers.InputLayer):
        raise WeightsError(
            f"{maker.name} changes the model's texts before the layer {layer.name} reads them,"
            " which no tokenizer.json does; export the part of the model behind that layer, give"
            " the layer as tokenizer, and change the texts in the program that calls the server"
        )


def parameters(call: Any) -> list[str]:
    """Return the names of a function's parameters."""
    return list(inspect.signature(call).parameters)


def _traced(model: Any) -> Any:
    """Run the code of a subclassed model on a symbolic text."""
    shape = (model.get_build_config() or {}).get("input_shape")
    sizes = tuple(shape[1:]) if isinstance(shape, list | tuple) else ()
    texts = keras.Input(sizes, dtype="string")
    try:
        return keras.Model(texts, model.call(texts))
    except Exception as error:  # the model's code may raise any error
        raise WeightsError(
            f"{type(model).__name__}.call cannot be traced on texts ({reason_of(error)}); export"
            " the part that takes token ids, and give its TextVectorization layer as tokenizer"
        ) from error
