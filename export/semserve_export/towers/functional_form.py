"""Converts a model of two texts to a graph of layers.

A subclass of `keras.Model` has no graph. Its `call` is run once on symbolic tensors. If it uses
only layers and `keras.ops`, this gives the graph of its computation. If it uses functions of
TensorFlow, the whole model is one step of the graph.
"""

import inspect
from collections.abc import Callable
from typing import Any

import keras

from semserve_export.errors import WeightsError
from semserve_export.failures import reason_of
from semserve_export.keras_models.nested_models import inlined, parameters
from semserve_export.models.keras_internals import is_functional, sublayers
from semserve_export.towers.layer_graph import LayerGraph

STRING_LAYERS = ("TextVectorization", "StringLookup")
Shape = tuple[int | None, ...]


def takes_several(model: Any) -> bool:
    """Return whether a model takes more than one input."""
    if is_functional(model):
        return len(model.inputs) > 1
    shape = (model.get_build_config() or {}).get("input_shape")
    required = [name for name in parameters(model.call) if _is_required(model.call, name)]
    return len(required) > 1 or (shape is not None and not _is_shape(shape))


def functional_form(model: Any) -> Any:
    """Return an equivalent Functional model with the same layers.

    Raises:
        WeightsError: the model was never called, so its inputs are unknown.
    """
    if is_functional(model):
        return model
    arguments = _symbolic_arguments(model, free_length=True)
    for call, given in (
        (model.call, arguments),
        (model.call, _symbolic_arguments(model, free_length=False)),
        (model, arguments),
        (model, _symbolic_arguments(model, free_length=False)),
    ):
        try:
            return _traced(call, given)
        except Exception as error:  # noqa: BLE001 - whatever the user's own code raises
            last = error
    raise WeightsError(f"{type(model).__name__}.call cannot be traced: {reason_of(last)}") from last


def inline_joint_models(model: Any) -> Any | None:
    """Replace nested models that take several inputs by their layers.

    Returns:
        A Functional model, or None if no nested model can be replaced.
    """
    joint = {
        id(step.operation)
        for step in LayerGraph(model).joint_steps()
        if isinstance(step.operation, keras.Model)
    }
    if not joint:
        return None

    try:
        return inlined(model, joint)
    except Exception:  # noqa: BLE001 - a nested subclass that cannot be traced stays closed
        return None


def _traced(call: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    outputs = call(**arguments)
    return keras.Model(keras.tree.flatten(list(arguments.values())), outputs)


def _symbolic_arguments(model: Any, *, free_length: bool) -> dict[str, Any]:
    """Create symbolic inputs with the structure of the model's first call.

    Args:
        model: a subclass of `keras.Model`.
        free_length: whether the number of tokens is not fixed.
    """
    known = model.get_build_config() or {}
    shapes = known.get("shapes_dict") or {}
    if not shapes and known.get("input_shape") is None:
        raise WeightsError(
            f"{type(model).__name__} was never called, so what it takes is unknown: call it once"
            " on two texts, then export it"
        )
    names = [name for name in parameters(model.call) if name not in {"training", "mask"}]
    reads_strings = any(type(layer).__name__ in STRING_LAYERS for layer in sublayers(model))
    kind = "string" if reads_strings else "int32"
    first = known.get("input_shape")
    given = {
        name: shapes.get(f"{name}_shape", first)
        for name in names
        if f"{name}_shape" in shapes or _is_required(model.call, name)
    }
    return {
        name: _inputs_like(shape, name, kind, free_length=free_length)
        for name, shape in given.items()
    }


def _inputs_like(shape: Any, name: str, kind: str, *, free_length: bool) -> Any:
    if isinstance(shape, dict):
        return {
            key: _inputs_like(value, str(key), kind, free_length=free_length)
            for key, value in shape.items()
        }
    if not _is_shape(shape):
        parts = [
            _inputs_like(value, f"{name}_{place}", kind, free_length=free_length)
            for place, value in enumerate(shape, start=1)
        ]
        return type(shape)(parts)
    sizes = tuple(shape[1:])
    if kind != "string" and free_length:
        sizes = (None,) * len(sizes)
    return keras.Input(sizes, dtype=kind, name=name)


def _is_shape(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(
        one is None or isinstance(one, int) for one in value
    )


def _is_required(call: Any, name: str) -> bool:
    parameter = inspect.signature(call).parameters[name]
    positional = {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}
    return parameter.kind in positional and parameter.default is parameter.empty
