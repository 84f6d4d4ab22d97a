"""The start of a training: a recipe's public weights, or a model of the user."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
from tokenizers import Tokenizer

from semserve_export.files.preset_digest import digest_of
from semserve_export.hugging_face.directory import HuggingFaceDirectory, find_directory
from semserve_export.model_spec import INPUTS
from semserve_export.models.families import inputs_of
from semserve_export.models.loaded_model import (
    WEIGHTS_FILE,
    load_base_classifier,
    load_recipe_tokenizer,
)
from semserve_export.models.preset import Preset
from semserve_export.options import ModelOptions
from semserve_export.pipeline.custom_model import build_custom_tokenizer
from semserve_export.pipeline.preset_models import base_digest
from semserve_export.recipes import Recipe
from semserve_export.training.plan import Precision

MakeClassifier = Callable[[float, Precision], keras.Model]


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseModel:
    """A classifier before its training, and its tokenizer for training and serving."""

    make: MakeClassifier
    """Builds the classifier with a new head, for a dropout and a precision; all weights are
    trainable."""
    tokenizer: Tokenizer
    labels: tuple[str, ...]
    max_sequence_length: int  # tokens
    facts: Mapping[str, Any]
    """Its entries in the adapter's record: recipe, base, base_sha256, labels, activation."""
    inputs: tuple[str, ...] = INPUTS


def start_from_recipe(recipe: Recipe, weights: Path) -> BaseModel:
    """Start from a recipe's public weights."""
    labels = recipe.spec.labels or ()
    return BaseModel(
        make=partial(load_base_classifier, recipe, weights),
        tokenizer=load_recipe_tokenizer(recipe, weights),
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


def start_from_preset(source: str | Path, labels: Sequence[str], path: str = "") -> BaseModel:
    """Start from the backbone of a preset, or from a Hugging Face directory.

    Args:
        source: the preset, checked (`ready_for_keras`); it must stay until the training ends.
        labels: the classes, in the order of the logits.
        path: path that the user passed, if `source` is a checked copy of it.

    Raises:
        WeightsError: it cannot be read, or its family is not supported.
    """
    if found := find_directory(str(source)):
        return _start_from_hugging_face(HuggingFaceDirectory.read(found), Path(source), labels)
    return _start(path or str(source), Preset.read(str(source)), labels)


def _start(path: str, preset: Preset, labels: Sequence[str]) -> BaseModel:
    name = ModelOptions(path).title
    make = partial(preset.make_classifier, len(labels))
    model = make(0, "float32")
    return BaseModel(
        make=make,
        tokenizer=build_custom_tokenizer(preset.load_tokenizer(), preset),
        labels=tuple(labels),
        max_sequence_length=preset.max_sequence_length(model.backbone),
        facts={
            "recipe": name,
            "base": name,
            "base_sha256": base_digest(preset, path),
            "labels": list(labels),
            "activation": preset.activation,
        },
        inputs=inputs_of(model),
    )


def _start_from_hugging_face(
    source: HuggingFaceDirectory, directory: Path, labels: Sequence[str]
) -> BaseModel:
    """Start from the encoder of a Hugging Face directory, with its tokenizer."""
    make = partial(source.make_classifier, len(labels))
    tokenizer, limit = source.tokenizer()
    return BaseModel(
        make=make,
        tokenizer=tokenizer,
        labels=tuple(labels),
        max_sequence_length=source.max_sequence_length(None, limit),
        facts={
            "recipe": directory.name,
            "base": directory.name,
            "base_sha256": digest_of(source.weight_files),
            "labels": list(labels),
            "activation": source.architecture.activation,
        },
        inputs=inputs_of(make(0, "float32")),
    )
