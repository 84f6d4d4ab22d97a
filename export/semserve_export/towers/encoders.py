"""One side of a model of two texts as a model of token ids, with its tokenizing layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import keras_hub
import numpy as np
import tensorflow as tf
from keras import ops

from semserve_export.errors import WeightsError
from semserve_export.keras_models.nested_models import inlined, require_unchanged, second_use
from semserve_export.model_spec import INPUTS
from semserve_export.models.keras_internals import call_again, made_by, sublayers
from semserve_export.tokenizers.sample_texts import TEXTS
from semserve_export.towers.input_roles import TEXT
from semserve_export.towers.layer_graph import LayerGraph, steps_between
from semserve_export.towers.two_texts import Tower

READERS = (
    keras.layers.TextVectorization,
    keras_hub.models.Preprocessor,
    keras_hub.tokenizers.Tokenizer,
)
"""Layers that convert strings to token ids."""
MOST_NESTED = 8  # levels of nested models that are searched for one
ALIKE = 1e-6  # largest difference of two encoders with the same layers
TRIED_ROWS, TRIED_LENGTH, SEED = 4, 9, 5


@dataclass(frozen=True, slots=True)
class Encoder:
    """An encoder of one text."""

    model: Any  # Functional; its inputs have the bundle's names, int32 [batch, sequence]
    reader: Any = None  # the layer that tokenises strings in the user's model


def encoder_of_ids(tower: Tower) -> Encoder:
    """Rebuild a tower after its tokenizing layer, on inputs with the bundle's names.

    Raises:
        WeightsError: an unknown layer tokenises its strings.
    """
    opened, inputs, reader = behind_readers(tower.model, [tower.inputs])
    return Encoder(rebuilt(inputs[0], opened.outputs[0]), reader)


def behind_readers(
    model: Any, texts: Sequence[dict[str, Any]]
) -> tuple[Any, list[dict[str, Any]], Any]:
    """Find the token ids of a model that takes strings.

    Args:
        model: Functional.
        texts: the inputs of each text by role.

    Returns:
        The model, in which nested models with a tokenizing layer are replaced by their layers; the
        tensors of each text's token ids, and of its mask and segments if any, by the bundle's name;
        and the tokenizing layer, None if the model takes token ids.

    Raises:
        WeightsError: an unknown layer or two layers tokenise the strings.
    """
    if not any(TEXT in text for text in texts):
        return model, list(texts), None
    places = [[one is text[TEXT] for one in model.inputs].index(True) for text in texts]
    opened = model
    for _ in range(MOST_NESTED):
        graph = LayerGraph(opened)
        found = {
            place: step
            for place in places
            for step in reversed(graph.steps)
            if isinstance(step.operation, READERS) and graph.needed(step) == {place}
        }
        if len(found) == len(places):
            steps = [found[place] for place in places]
            if len({id(step.operation) for step in steps}) > 1:
                raise WeightsError(
                    "the two texts are read by different layers, and a bundle has one tokenizer;"
                    " export each side's encoder as a model of its own"
                )
            for step in steps:
                require_unchanged(step.inputs[0], step.operation)
            return opened, [_read_by(step) for step in steps], steps[0].operation
        if any(
            isinstance(step.operation, READERS) and graph.needed(step) >= set(places)
            for step in graph.steps
            if len(places) > 1
        ):
            raise WeightsError(
                "the model reads its two texts as one sequence; export the model behind its"
                " preprocessor, such as KerasHub's classifier itself, with the preprocessor"
            )
        inner = {id(step.operation) for step in graph.steps if _holds_reader(step.operation)}
        if not inner:
            break
        opened = inlined(opened, inner)
    raise WeightsError(
        "the model takes strings, and nothing in it that makes token ids of them is a"
        " TextVectorization, a KerasHub preprocessor or a KerasHub tokenizer; export the part that"
        " takes token ids, and give its tokenizer"
    )


def rebuilt(inputs: dict[str, Any], output: Any) -> Any:
    """Repeat the calls between some tensors and an output, on new inputs of the same lengths.

    Args:
        inputs: symbolic tensors by the names of the inputs that replace them; the inputs are int32
            [batch, sequence].
        output: the output tensor.

    Raises:
        WeightsError: the output also depends on an input of the model in another way.
    """
    fresh = {
        name: keras.Input((tensor.shape[1],), dtype="int32", name=name)
        for name, tensor in inputs.items()
    }
    values = {id(inputs[name]): ops.cast(one, inputs[name].dtype) for name, one in fresh.items()}
    for step in steps_between(list(inputs.values()), [output]):
        maker, _ = made_by(step.outputs[0])
        if isinstance(maker, keras.layers.InputLayer):
            raise second_use(maker.name)
        given = call_again(step.outputs[0], values)
        values |= {id(old): new for old, new in zip(step.outputs, given, strict=True)}
    return keras.Model(list(fresh.values()), values[id(output)])


def same_encoders(left: Tower, right: Tower) -> bool:
    """Return whether both towers give the same vectors for the same inputs."""
    if set(left.inputs) != set(right.inputs):
        return False
    models = left.model, right.model
    random = np.random.default_rng(SEED)
    limit = min(
        (layer.input_dim for layer in sublayers(models[0]) if hasattr(layer, "input_dim")),
        default=2,
    )
    given = {}
    for role, tensor in left.inputs.items():
        length = tensor.shape[1] if len(tensor.shape) > 1 else None
        if role == TEXT:
            given[role] = strings(TEXTS[:TRIED_ROWS], tensor)
        elif role == INPUTS[0]:
            given[role] = random.integers(1, max(limit, 2), (TRIED_ROWS, length or TRIED_LENGTH))
        else:
            given[role] = np.full((TRIED_ROWS, length or TRIED_LENGTH), int(role == INPUTS[2]))
    one, other = (
        np.asarray(model(_cast(given, tower), training=False))
        for model, tower in zip(models, (left, right), strict=True)
    )
    if one.shape != other.shape or not np.array_equal(np.isnan(one), np.isnan(other)):
        return False  # NaN for a text without a token
    one, other = np.nan_to_num(one), np.nan_to_num(other)
    return bool(np.abs(one - other).max() <= ALIKE * (1 + np.abs(one).max()))


def strings(texts: Sequence[str], tensor: Any) -> Any:
    """Return a tensor of texts for an input of strings: [batch], or [batch, 1]."""
    made = tf.constant([text.encode() for text in texts])
    return made if len(tensor.shape) == 1 else tf.reshape(made, (-1, 1))


def _cast(given: dict[str, Any], tower: Tower) -> list[Any]:
    return [
        given[role] if role == TEXT else ops.cast(given[role], tensor.dtype)
        for role, tensor in tower.inputs.items()
    ]


def _read_by(step: Any) -> dict[str, Any]:
    """Return the outputs of a tokenizing layer, by the bundle's names."""
    if len(step.outputs) == 1:
        return {INPUTS[0]: step.outputs[0]}
    # Keras flattens a dictionary in the sorted order of its keys.
    names = sorted(INPUTS if len(step.outputs) == len(INPUTS) else (INPUTS[0], INPUTS[2]))
    return dict(zip(names, step.outputs, strict=True))


def _holds_reader(operation: Any) -> bool:
    return isinstance(operation, keras.Model) and any(
        isinstance(layer, READERS) for layer in sublayers(operation)
    )
