"""Determines the role of each input of a model of texts, and the text that it belongs to."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from semserve_export.errors import WeightsError
from semserve_export.models.keras_internals import argument_names, sublayers
from semserve_export.towers.layer_graph import LayerGraph

Roles = dict[str, int]
"""The indices of one text's inputs among a model's inputs, by role."""
TEXT, TOKEN_IDS, PADDING_MASK, SEGMENT_IDS = "text", "token_ids", "padding_mask", "segment_ids"
BY_NAME = {
    PADDING_MASK: re.compile(r"mask", re.IGNORECASE),
    SEGMENT_IDS: re.compile(r"segment|type", re.IGNORECASE),
}
"""Roles by the names of inputs; other inputs of numbers are token ids."""
SIDES = 2


def texts_of(model: Any) -> list[Roles]:
    """Group the inputs of a Functional model by text, in the order of the inputs.

    The first input of each role belongs to the first text, the second to the second, and so on.

    Raises:
        WeightsError: an input does not have the shape of a text.
    """
    graph = LayerGraph(model)
    texts: list[Roles] = []
    for place in input_order(model):
        role = _role(graph, model.inputs[place])
        if role == TOKEN_IDS:
            _require_looked_up(graph, place)
        for text in texts:
            if role not in text:
                text[role] = place
                break
        else:
            texts.append({role: place})
    return texts


def roles_of(graph: LayerGraph, places: Sequence[int]) -> Roles | None:
    """Return the role of each input of a text, or None if two inputs have the same role."""
    roles = {_role(graph, graph.inputs[place]): place for place in places}
    complete = len(roles) == len(places) and (TEXT in roles) != (TOKEN_IDS in roles)
    return roles if complete else None


def input_order(model: Any) -> list[int]:
    """Return the indices of a model's inputs in the order of their definition.

    Keras sorts the keys of a dictionary: `hypothesis` becomes the first input, before `premise`.
    """
    places = {id(tensor): place for place, tensor in enumerate(model.inputs)}
    found = [places[id(tensor)] for tensor in _leaves(model.input) if id(tensor) in places]
    return found if len(found) == len(places) else list(range(len(places)))


def _require_looked_up(graph: LayerGraph, place: int) -> None:
    """Refuse numbers that are not token ids, because no embedding layer reads them.

    Raises:
        WeightsError: the message names the input.
    """
    steps = [step for step in graph.steps if place in graph.needed(step)]
    layers = [layer for step in steps for layer in (step.operation, *_inside(step.operation))]
    if steps and not any(hasattr(layer, "input_dim") for layer in layers):
        raise WeightsError(
            f"the input {graph.inputs[place].name!r} is no text: no Embedding looks its numbers up;"
            " export a model whose inputs are token ids or strings"
        )


def _inside(operation: Any) -> list[Any]:
    return sublayers(operation) if isinstance(operation, keras.layers.Layer) else []


def _leaves(structure: Any) -> Iterator[Any]:
    if isinstance(structure, dict):
        structure = list(structure.values())
    if not isinstance(structure, list | tuple):
        yield structure
        return
    for part in structure:
        yield from _leaves(part)


def _role(graph: LayerGraph, tensor: Any) -> str:
    shape, kind = tuple(tensor.shape), str(tensor.dtype)
    if len(shape) > SIDES or (len(shape) == 1 and kind != "string"):
        raise WeightsError(
            f"the input {tensor.name!r} has the shape {shape}, which is no text's: a text is a"
            " string, or token ids [batch, tokens]"
        )
    if kind == "string":
        return TEXT
    if kind == "bool":
        return PADDING_MASK
    steps = [step for step in graph.steps if any(one is tensor for one in step.inputs)]
    if any(isinstance(step.operation, keras.layers.Embedding) for step in steps) and not (
        BY_NAME[SEGMENT_IDS].search(tensor.name)
    ):
        return TOKEN_IDS
    keys = [key for step in steps for key in argument_names(step.outputs[0], tensor)]
    for role in (TOKEN_IDS, PADDING_MASK, SEGMENT_IDS):
        if role in keys:
            return role
    for role, name in BY_NAME.items():
        if name.search(tensor.name):
            return role
    return TOKEN_IDS
