"""Word models: how a recipe over word vectors becomes a model with its tokenizer.

What its training changed is kept beside the code:

    adapter.safetensors    words/rows int32 [n], words/change fp16 [n, dimensions]: what is added to
                           the vectors of these ids; every other weight by its name, fp32
    adapter.json           the recipe, the plan, the measured figures, the digest of the vectors

A word that no training text had keeps its public vector.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from semserve_export.encoder_weights import Array
from semserve_export.errors import AdapterError
from semserve_export.files.digest import sha256_of
from semserve_export.keras_models.load import load_keras_model
from semserve_export.model_spec import ModelSpec
from semserve_export.models.delta_adapter import TENSORS, read_record, read_tensors
from semserve_export.models.loaded_model import LICENCES, LoadedModel
from semserve_export.options import ModelOptions
from semserve_export.recipes import WordRecipe
from semserve_export.tokenizers.word_tokenizer import build_word_tokenizer
from semserve_export.word_vectors.glove import VECTORS_FILE, Glove, weighted_table, word_table
from semserve_export.word_vectors.word_model import WORDS, average_encoder, lstm_encoder

ROWS, CHANGE = f"{WORDS}/rows", f"{WORDS}/change"


def load_word_recipe(recipe: WordRecipe, weights: Path) -> LoadedModel:
    """Build a recipe's model on the public vectors, with its adapter.

    Args:
        recipe: the recipe.
        weights: directory of the vectors, from `fetch_weights`.

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


def apply_word_adapter(directory: Path, encoder: Any) -> None:
    """Turn an encoder on the public table into the trained one.

    Raises:
        AdapterError: the file is damaged, or not of this encoder.
    """
    path = directory / TENSORS
    tensors = read_tensors(path)
    words = encoder.get_layer(WORDS)
    variables = encoder.trainable_variables
    others = {one.path: one for one in variables if not one.path.startswith(f"{WORDS}/")}
    (table,) = words.get_weights()
    if unlike := {ROWS, CHANGE, *others} ^ set(tensors):
        raise AdapterError(f"{path}: {min(unlike)} is not both in it and in the model")
    rows, change = tensors.pop(ROWS), tensors.pop(CHANGE)
    if change.shape != (len(rows), table.shape[1]) or (
        len(rows) and not 0 <= rows.min() <= rows.max() < len(table)
    ):
        raise AdapterError(f"{path}: {CHANGE} {change.shape} does not fit {table.shape}")
    table[rows] += change
    words.set_weights([table])
    for name, variable in others.items():
        if tensors[name].shape != tuple(variable.shape):
            raise AdapterError(f"{path}: {name} is {tensors[name].shape}, not {variable.shape}")
        variable.assign(tensors[name])
