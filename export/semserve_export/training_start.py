"""What a training begins from: a recipe's public weights, or a model of the user's own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
from tokenizers import Tokenizer

from semserve_export.digest import sha256_of
from semserve_export.families import inputs_of
from semserve_export.model import WEIGHTS_FILE, load_base_classifier, load_tokenizer
from semserve_export.own import build_own_tokenizer
from semserve_export.preset import Preset
from semserve_export.recipes import Recipe
from semserve_export.spec import INPUTS
from semserve_export.training_plan import Precision

MakeClassifier = Callable[[float, Precision], keras.Model]


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A classifier before its training, and the tokenizer that it is trained and served with."""

    make: MakeClassifier
    """Builds it with a fresh head, for a dropout and a precision; all of it can be trained."""
    tokenizer: Tokenizer
    labels: tuple[str, ...]
    max_sequence_length: int  # tokens
    facts: Mapping[str, Any]
    """What the adapter's record says of it: recipe, base, base_sha256, labels, activation."""
    inputs: tuple[str, ...] = INPUTS


def start_from_recipe(recipe: Recipe, weights: Path) -> Start:
    """Begin from a recipe's public weights."""
    labels = recipe.spec.labels or ()
    return Start(
        make=partial(load_base_classifier, recipe, weights),
        tokenizer=load_tokenizer(recipe, weights),
        labels=labels,
        max_sequence_length=recipe.spec.max_sequence_length,
        facts={
            "recipe": recipe.spec.name,
            "base": str(recipe.weights),
            "base_sha256": recipe.weights.sha256[WEIGHTS_FILE],
            "labels": list(labels),
            "activation": recipe.spec.activation,
        },
        inputs=recipe.spec.inputs,
    )


def start_from_preset(directory: Path, labels: Sequence[str]) -> Start:
    """Begin from the backbone of a preset: KerasHub's own, or a Hugging Face directory.

    Raises:
        WeightsError: it cannot be read, or is of no family that can be exported.
    """
    preset = Preset.read(str(directory))
    make = partial(preset.make_classifier, len(labels))
    model = make(0, "float32")
    weights = preset.weights_file
    return Start(
        make=make,
        tokenizer=build_own_tokenizer(
            preset.load_tokenizer(), preset, hugging_face=preset.hugging_face
        ),
        labels=tuple(labels),
        max_sequence_length=preset.max_sequence_length(model.backbone),
        facts={
            "recipe": directory.name,
            "base": directory.name,
            "base_sha256": sha256_of(weights) if weights else None,
            "labels": list(labels),
            "activation": preset.activation,
        },
        inputs=inputs_of(model),
    )
