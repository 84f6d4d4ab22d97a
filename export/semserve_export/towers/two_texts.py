"""Divides a model of two texts into the left encoder, the right encoder, and the head."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import keras
from keras import ops

from semserve_export.errors import WeightsError
from semserve_export.models.keras_internals import call_again, producer, sublayers
from semserve_export.towers.comparison import Comparison, recognised
from semserve_export.towers.functional_form import (
    functional_form,
    inline_joint_models,
    takes_several,
)
from semserve_export.towers.input_roles import SIDES, Roles, input_order, roles_of, texts_of
from semserve_export.towers.layer_graph import LayerGraph

MOST_NESTED = 8  # levels of nested models that are replaced by their layers
MOST_HEADS = 12  # heads that are compared for one candidate division
MOST_LAYERS = 6  # layers that are tried as towers, for a model without a graph


@dataclass(frozen=True, slots=True)
class Tower:
    """The encoder of one text in a graph."""

    inputs: dict[str, Any]  # symbolic tensors by role
    vector: Any  # symbolic, fp32 [batch, width]

    @property
    def model(self) -> Any:
        """A Functional model whose input is the list of inputs."""
        return keras.Model(list(self.inputs.values()), self.vector)


@dataclass(frozen=True, slots=True)
class Towers:
    """Two encoders whose vectors are compared; they may be the same layers."""

    left: Tower
    right: Tower
    comparison: Comparison | None  # None if the head cannot run alone


@dataclass(frozen=True, slots=True)
class TwoTexts:
    """A model of two texts."""

    model: Any  # Functional; its inputs are those of the user's model
    left: Roles
    right: Roles

    def side_names(self) -> tuple[str, str]:
        """Return the names of the inputs of each side, for messages."""
        left, right = (
            ", ".join(self.model.inputs[place].name for place in side.values())
            for side in (self.left, self.right)
        )
        return left, right

    @property
    def has_one_output(self) -> bool:
        """Whether the model returns one number for a pair of texts."""
        outputs = self.model.outputs
        return len(outputs) == 1 and tuple(outputs[0].shape[1:]) in {(), (1,)}


def two_texts(model: Any) -> TwoTexts | None:
    """Find the two texts that a model takes.

    Args:
        model: any Keras model, built.

    Returns:
        None for a model of one text.

    Raises:
        WeightsError: the model takes more than two texts, or its inputs cannot be determined.
    """
    if not takes_several(model):
        return None
    whole = functional_form(model)
    texts = texts_of(whole)
    if len(texts) > SIDES:
        names = ", ".join(tensor.name for tensor in whole.inputs)
        raise WeightsError(
            f"the model takes {len(texts)} texts ({names}), and what can be served takes one or"
            " two: export the layer that encodes one text, with metric="
        )
    return TwoTexts(whole, *texts) if len(texts) == SIDES else None


def find_towers(texts: TwoTexts, tower: str | None = None) -> Iterator[Towers]:
    """Yield candidate divisions into two towers and a comparison, the most certain first.

    Args:
        texts: a model of two texts.
        tower: name of the layer that encodes one text; None for any layer.

    Raises:
        WeightsError: the model has no layer of this name.
    """
    if tower is not None and tower not in {layer.name for layer in sublayers(texts.model)}:
        names = [layer.name for layer in texts.model.layers if isinstance(layer, keras.Model)]
        raise WeightsError(
            f"tower: the model has no layer {tower!r}"
            + (f"; the models inside it are {', '.join(names)}" if names else "")
        )
    if not texts.has_one_output:
        return
    opened: Any = texts.model
    for _ in range(MOST_NESTED):
        yield from _cut(opened, tower)
        opened = inline_joint_models(opened)
        if opened is None:
            break
    yield from _by_layers(texts, tower)


def _cut(model: Any, tower: str | None) -> Iterator[Towers]:
    """Cut a graph where each side is one vector, and yield the cuts with a known comparison.

    The graph gives the ways to divide its inputs into two sides, and for each side the vectors
    through which all its paths to the output pass. Two such vectors of equal size, one of each
    side, are a cut: the calls before them are the two towers, and the calls after them are the
    head, which is run on random vectors to recognise its comparison. The cuts nearest to the output
    come first.

    If the tower is named, or the head is unknown, the last candidate is the cut nearest to the
    output, without a comparison.
    """
    graph = LayerGraph(model)
    unknown: list[Towers] = []
    for sides in graph.sides(first=input_order(model)[0]):
        roles = [roles_of(graph, sorted(side)) for side in sides]
        if None in roles:
            continue
        cuts = [
            [one for one in graph.cuts(side) if tower in {None, producer(one)[0].name}]
            for side in sides
        ]
        pairs = [(left, right) for left, right in product(*cuts) if left.shape[1] == right.shape[1]]
        order = {id(tensor): place for cut in cuts for place, tensor in enumerate(cut)}
        pairs.sort(key=lambda pair: order[id(pair[0])] + order[id(pair[1])])
        for left, right in pairs[:MOST_HEADS]:
            found = Towers(
                _encoder(model, roles[0], left),
                _encoder(model, roles[1], right),
                _comparison(graph, left, right),
            )
            if found.comparison:
                yield found
            else:
                unknown.append(found)
    yield from unknown[:1]


def _encoder(model: Any, roles: Any, vector: Any) -> Tower:
    return Tower({role: model.inputs[place] for role, place in roles.items()}, vector)


def _comparison(graph: LayerGraph, left: Any, right: Any) -> Comparison | None:
    """Recognise the comparison that the calls after two vectors compute."""

    def run(left_rows: Any, right_rows: Any) -> Any:
        values = {
            id(tensor): ops.convert_to_tensor(rows)
            for tensor, rows in ((left, left_rows), (right, right_rows))
        }
        for step in graph.steps:
            if any(id(tensor) in values for tensor in step.inputs):
                given = call_again(step.outputs[0], values)
                values |= {id(tensor): one for tensor, one in zip(step.outputs, given, strict=True)}
        return ops.convert_to_numpy(values[id(graph.outputs[0])])

    return recognised(run, int(left.shape[1]))


def _by_layers(texts: TwoTexts, tower: str | None) -> Iterator[Towers]:
    """Try layers of a model without a graph as towers; their vectors are compared later."""
    model = texts.model
    outer = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    inside = [layer for one in outer for layer in getattr(one, "layers", [])]
    if tower is not None:
        inside = [layer for layer in sublayers(model) if layer.name == tower]
    encoders = [
        pair for layer in inside[:MOST_LAYERS] if (pair := _applied(layer, texts)) is not None
    ]
    for left, right in sorted(product(encoders, encoders), key=lambda pair: pair[0] is not pair[1]):
        if left[0].vector.shape == right[1].vector.shape:
            yield Towers(left[0], right[1], None)


def _applied(layer: Any, texts: TwoTexts) -> tuple[Tower, Tower] | None:
    """Apply a layer to the inputs of each side; None if its output is not a vector."""
    encoders = []
    for side in (texts.left, texts.right):
        inputs = {role: texts.model.inputs[place] for role, place in side.items()}
        try:
            vector = layer(inputs if len(inputs) > 1 else next(iter(inputs.values())))
            if len(vector.shape) != SIDES or vector.shape[1] is None:
                return None
            encoders.append(Tower(inputs, vector))
        except Exception:  # noqa: BLE001 - a layer that is no encoder of a text raises anything
            return None
    return encoders[0], encoders[1]
