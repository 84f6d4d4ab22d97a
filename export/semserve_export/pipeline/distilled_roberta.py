"""Builds a RoBERTa that was distilled from a BERT, from its stored differences.

The repository stores the byte-level vocabulary and the differences from the initial weights of the
RoBERTa. The initial weights are computed from the BERT: its layers and its head, the vectors of its
word-pieces by `vectors_of`, and its positions with segment 0 added. The model is saved as a preset
and exported like the preset of a user.
"""

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras_hub
import numpy as np

from semserve_export.errors import AdapterError
from semserve_export.files.digest import sha256_of
from semserve_export.files.packages import KeptPreset
from semserve_export.models.byte_pair_start import vectors_of
from semserve_export.models.delta_adapter import (
    TENSORS,
    Arrays,
    apply_adapter,
    assign_values,
    read_adapter,
    read_record,
)
from semserve_export.models.loaded_model import (
    WEIGHTS_FILE,
    LoadedModel,
    load_base_classifier,
    load_recipe_tokenizer,
)
from semserve_export.pipeline.custom_model import load_preset_recipe
from semserve_export.recipes import DistilledRecipe, PresetRecipe

VOCABULARY, MERGES = "assets/tokenizer/vocabulary.json", "assets/tokenizer/merges.txt"
WORDS, POSITIONS = "token_embedding/embeddings", "position_embedding/embeddings"
SEGMENTS = "segment_embedding/embeddings"
OWN = "embeddings/"  # prefix of the names of both tables in a RoBERTa


def load_distilled_recipe(recipe: DistilledRecipe, weights: Path) -> LoadedModel:
    """Build the RoBERTa, save it as a preset, and load the preset like one of a user.

    Args:
        recipe: what to build.
        weights: the directory of the BERT's public weights.

    Raises:
        AdapterError: the stored files are damaged, or belong to another BERT.
        WeightsError: as `load_custom_model`.
    """
    package, record = recipe.weights, read_record(recipe.adapter)
    begun = {"base_sha256": package.sha256[WEIGHTS_FILE], "teacher_sha256": teacher_digest(recipe)}
    if any(record.get(name) != value for name, value in begun.items()):
        raise AdapterError(f"{recipe.adapter}: was learnt from other weights than {package}")
    model = make_start(recipe, weights)
    apply_adapter(recipe.adapter, model)
    with tempfile.TemporaryDirectory() as directory:
        model.save_to_preset(directory)
        make_preprocessor(recipe).save_to_preset(directory)
        kept = KeptPreset(Path(directory), package.licence, package.notice)
        loaded = load_preset_recipe(PresetRecipe(recipe.spec, kept), Path(directory))
    adapter_sha256 = sha256_of(recipe.adapter / TENSORS)
    return replace(
        loaded,
        source=f"{package} with adapter sha256:{adapter_sha256}",
        sha256=package.sha256[WEIGHTS_FILE],
        adapter_sha256=adapter_sha256,
        notice=f"{package.notice}\n{record['notice']}\n",
    )


def make_start(recipe: DistilledRecipe, weights: Path, dropout: float = 0) -> Any:
    """Build the classifier with the initial weights of its training.

    Args:
        recipe: the directory of its adapter contains the vocabulary.
        weights: the directory of the BERT's public weights.
        dropout: in training.

    Raises:
        AdapterError: the vocabulary or the BERT's adapter is damaged.
    """
    vocabulary, _ = _read_vocabulary(recipe.adapter)
    teacher = load_base_classifier(recipe.teacher, weights)
    values = {variable.path: np.asarray(variable.numpy()) for variable in teacher.weights}
    if recipe.teacher.adapter:
        values |= read_adapter(recipe.teacher.adapter, teacher)
    shape, positions = teacher.backbone, recipe.spec.max_sequence_length
    backbone = keras_hub.models.RobertaBackbone(
        vocabulary_size=len(vocabulary),
        num_layers=shape.num_layers,
        num_heads=shape.num_heads,
        hidden_dim=shape.hidden_dim,
        intermediate_dim=shape.intermediate_dim,
        max_sequence_length=positions,
        dropout=dropout,
    )
    model = keras_hub.models.RobertaTextClassifier(
        backbone, num_classes=teacher.num_classes, dropout=dropout
    )
    known = load_recipe_tokenizer(recipe.teacher, weights).get_vocab()
    tables: Arrays = {
        OWN + WORDS: vectors_of(
            sorted(vocabulary, key=vocabulary.__getitem__), known, values[WORDS]
        ),
        OWN + POSITIONS: values[POSITIONS][:positions] + values[SEGMENTS][0],
    }
    layers = {name: values[name] for name in values if name not in (WORDS, POSITIONS, SEGMENTS)}
    assign_values(model, layers | tables)
    return model


def make_preprocessor(recipe: DistilledRecipe) -> Any:
    """Build KerasHub's preprocessor of pairs on the byte-level vocabulary.

    Raises:
        AdapterError: the vocabulary is damaged.
    """
    vocabulary, merges = _read_vocabulary(recipe.adapter)
    return keras_hub.models.RobertaTextClassifierPreprocessor(
        keras_hub.models.RobertaTokenizer(vocabulary=vocabulary, merges=merges),
        sequence_length=recipe.spec.max_sequence_length,
    )


def teacher_digest(recipe: DistilledRecipe) -> str | None:
    """Return the digest of the BERT's adapter, which is part of the initial weights."""
    adapter = recipe.teacher.adapter
    return sha256_of(adapter / TENSORS) if adapter else None


def _read_vocabulary(directory: Path) -> tuple[dict[str, int], list[str]]:
    try:
        vocabulary = json.loads((directory / VOCABULARY).read_text(encoding="utf-8"))
        merges = (directory / MERGES).read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, ValueError) as error:
        raise AdapterError(f"{directory}: its vocabulary cannot be read ({error})") from error
    return vocabulary, merges
