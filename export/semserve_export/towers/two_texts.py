"""A model of two texts, taken apart: what reads the left text, what reads the right, and the head."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras

from semserve_export.errors import WeightsError
from semserve_export.models.keras_internals import argument_names
from semserve_export.towers.comparison import Comparison, recognised
from semserve_export.towers.functional_form import functional_form, inline_joint_models
from semserve_export.towers.layer_graph import LayerGraph, Side, consumers

MOST_NESTED = 8  # models inside models that are opened
TEXT, TOKEN_IDS, PADDING_MASK, SEGMENT_IDS = "text", "token_ids", "padding_mask", "segment_ids"
NAMED = {
    PADDING_MASK: re.compile(r"mask", re.IGNORECASE),
    SEGMENT_IDS: re.compile(r"segment|type", re.IGNORECASE),
    TOKEN_IDS: re.compile(r"ids?\b|ids?_|token|word|input|text|sentence|question", re.IGNORECASE),
}
"""What the name of an input says about it; the first that fits counts."""


@dataclass(frozen=True, slots=True)
class Towers:
    """Two encoders whose vectors are compared; they may be the same layers."""

    left: Any  # a Functional model from a dictionary by role, or from one string, to [batch, width]
    right: Any
    comparison: Comparison


@dataclass(frozen=True, slots=True)
class TwoTexts:
    """A model of two texts."""

    model: Any  # Functional; its inputs are those of the user's model
    left: dict[str, int]  # the places of the left text's inputs, by role
    right: dict[str, int]
    towers: Towers | None  # None where the comparison is none that the server has

    def side_names(self) -> tuple[str, str]:
        """Return the names of the inputs of each side, for people."""
        left, right = (
            ", ".join(self.model.inputs[place].name for place in side.values())
            for side in (self.left, self.right)
        )
        return left, right


def take_apart(model: Any) -> TwoTexts | None:
    """Find the two texts of a model, and its towers where it has some.

    Returns:
        None for a model of one text.

    Raises:
        WeightsError: it has more than two texts, or what an input holds cannot be told.
    """
    whole = functional_form(model)
    if len(whole.inputs) < 2 or not _inputs_of_two_texts(whole):  # noqa: PLR2004
        return None
    opened: Any = whole
    for _ in range(MOST_NESTED):
        graph = LayerGraph(opened)
        for left, right in graph.sides():
            roles = _roles(graph, left), _roles(graph, right)
            if towers := _towers(graph, (left, right), roles):
                return TwoTexts(whole, *roles, towers)
        opened = inline_joint_models(opened)
        if opened is None:
            break
    left, right = _halves(whole)
    return TwoTexts(whole, left, right, None)
