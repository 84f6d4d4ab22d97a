"""Word models: how a recipe over word vectors becomes a model with its tokenizer."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from semserve_export.encoder_weights import Array
from semserve_export.errors import AdapterError
from semserve_export.files.digest import sha256_of
from semserve_export.keras_models.load import load_keras_model
from semserve_export.model_spec import ModelSpec
from semserve_export.models.delta_adapter import TENSORS, read_record
from semserve_export.models.loaded_model import LICENCES, LoadedModel
from semserve_export.options import ModelOptions
from semserve_export.recipes import WordRecipe
from semserve_export.tokenizers.word_tokenizer import build_word_tokenizer
from semserve_export.word_vectors.glove import VECTORS_FILE, Glove, weighted_table, word_table
from semserve_export.word_vectors.word_adapter import apply_word_adapter
from semserve_export.word_vectors.word_model import average_encoder, lstm_encoder


def load_word_recipe(recipe: WordRecipe, weights: Path) -> LoadedModel:
    """Build a recipe's model on the public vectors, with what its training changed.

    Args:
        recipe: what to build.
        weights: the directory of the vectors, as `fetch_weights` returns it.

    Raises:
        WeightsError: the vectors cannot be read.
        AdapterError: the adapter is damaged, or was trained on other vectors.
    """
    package, digest = recipe.weights, recipe.weights.sha256[VECTORS_FILE]
    glove = Glove.read(weights)
    start = word_table if recipe.lstm_units else weighted_table
    encoder = build_encoder(recipe, start(glove, recipe.vocabulary))
    record = read_record(recipe.adapter)
    if record["base_sha256"] != digest:
        raise AdapterError(f"{recipe.adapter}: was trained on other vectors than {package}")
    apply_word_adapter(recipe.adapter, encoder)
    loaded = load_encoder(
        recipe.spec,
        encoder,
        build_word_tokenizer(glove.words[: recipe.vocabulary]),
        source=f"{package} with adapter sha256:{sha256_of(recipe.adapter / TENSORS)}",
        licence=(LICENCES / f"{package.licence}.txt").read_text(encoding="utf-8"),
        sha256=digest,
    )
    return replace(loaded, notice=f"{package.notice}\n{record['notice']}\n")


def load_encoder(spec: ModelSpec, encoder: Any, tokenizer: Tokenizer, **origin: Any) -> LoadedModel:
    """Load an encoder of word ids as any Keras model of token ids is loaded.

    Args:
        spec: what it is.
        encoder: the model.
        tokenizer: of its ids.
        origin: further arguments of `load_keras_model`.
    """
    options = ModelOptions(
        "",
        name=spec.name,
        description=spec.description,
        tokenizer=tokenizer,
        task=spec.task,
        metric=spec.metric,
        max_sequence_length=spec.max_sequence_length,
    )
    return load_keras_model(options, encoder, **origin)


def build_encoder(recipe: WordRecipe, table: Array) -> Any:
    """Build the recipe's encoder on vectors, fp32 [vocabulary, dimensions]."""
    if recipe.lstm_units is None:
        return average_encoder(table)
    return lstm_encoder(table, recipe.lstm_units, normalize=bool(recipe.spec.normalized))
