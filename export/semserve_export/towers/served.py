"""What a bundle of two towers is: its source, one graph, and what the report says of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from semserve_export.options import ModelOptions
from semserve_export.report import Fact, Origin
from semserve_export.towers.comparison import Comparison
from semserve_export.towers.two_texts import TwoTexts


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Where a model comes from, for its bundle."""

    source: str  # for people
    licence: str  # the text of the bundle's LICENSE
    sha256: str | None = None  # of its file
    loss: Any = None  # of its training, where its file tells


def of_both(left: Any, right: Any) -> Any:
    """Build one model of both encoders: the input `side` selects the encoder of each row."""
    inputs = {
        tensor.name: keras.Input((None,), dtype="int32", name=tensor.name) for tensor in left.inputs
    }
    side = keras.Input((), dtype="int32", name="side")
    is_left = ops.equal(
        ops.expand_dims(side, 1), 0
    )  # `==` of symbolic tensors compares the objects
    chosen = ops.where(is_left, left(inputs), right(inputs))
    return keras.Model(inputs | {"side": side}, chosen)


def facts_of_towers(
    options: ModelOptions, texts: TwoTexts, comparison: Comparison, *, shared: bool
) -> Iterator[Fact]:
    """Return the settings of the report.

    Args:
        options: the options of the export.
        texts: the model of two texts.
        comparison: comparison of its towers' vectors.
        shared: whether both sides have the same
            encoder.
    """
    left, right = texts.side_names()
    origin: Origin = "stated" if options.metric else "found"
    sign = ", with a minus sign" if comparison.sign < 0 else ""
    yield Fact("task", "embedding, of two texts that are compared")
    yield Fact("left text, right text", f"{left}; {right}")
    yield Fact("towers", "one encoder for both sides" if shared else "an encoder for each side")
    yield Fact("metric", f"{comparison.metric}{sign}", origin)


def kept_facts(facts: tuple[Fact, ...]) -> tuple[Fact, ...]:
    """Return the settings of one tower that apply to the whole model."""
    return tuple(fact for fact in facts if fact.name not in {"task", "metric"})


def notes_of_scores(comparison: Comparison) -> Iterator[str]:
    """Return notes about the scores, each one line."""
    if comparison.sign < 0:
        yield (
            "the model gives the distance of two texts; Compare gives minus that distance, so that"
            " higher is more similar"
        )
