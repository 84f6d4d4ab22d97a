"""A model in memory with all data of its bundle, and the loading of recipes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from semserve_export.encoder_weights import EncoderWeights
from semserve_export.errors import AdapterError, WeightsError
from semserve_export.files.digest import sha256_of
from semserve_export.model_spec import ModelSpec
from semserve_export.models import bert, mpnet
from semserve_export.models.delta_adapter import TENSORS, apply_adapter, read_record
from semserve_export.models.mpnet_weights import load_mpnet
from semserve_export.models.pooling import PooledTokens
from semserve_export.recipes import Recipe
from semserve_export.report import Fact, Measure
from semserve_export.tokenizers.bert_wordpiece import Text, build_tokenizer, read_vocabulary
from semserve_export.tokenizers.mpnet_tokenizer import build_mpnet_tokenizer
from semserve_export.tokenizers.parity import Parity

LICENCES = Path(__file__).parents[1] / "licences"
WEIGHTS_FILE = "model.safetensors"
VOCABULARY_FILES = ("vocab.txt", "tokenizer.json")


Proof = Callable[[Path], Measure]
"""Compares a bundle's directory with its model."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A Keras model, its tokenizer, and their origin."""

    spec: ModelSpec
    keras_model: Any  # from the inputs of `spec.INPUTS` to fp32 [batch, dimensions or classes]
    tokenizer: Tokenizer
    source: str  # origin of the weights, for messages
    sha256: str | None  # digest of the weights' files, if any
    licence: str  # text of the bundle's LICENSE
    notice: str  # text of the bundle's NOTICE
    adapter_sha256: str | None = None  # of the adapter that was applied to them
    notes: tuple[str, ...] = ()  # lines for the person who exports, printed at the end
    parity: Parity | None = None  # with KerasHub's tokenizer, where that trained the model
    encoder: EncoderWeights | None = (
        None  # the same numbers, where they were read from named tensors
    )
    facts: tuple[Fact, ...] = ()  # what the report says beside the spec, or with its origin
    proofs: tuple[Proof, ...] = ()  # further measures that the written bundle must hold
    texts: tuple[Text, ...] | None = None  # of golden answers, where those of every model do not do


def require_finite(model: Any) -> None:
    """Refuse weights with NaN or infinity, because every answer would be NaN.

    Raises:
        WeightsError: the message names the first tensor with NaN or infinity.
    """
    for variable in model.weights:
        values = np.asarray(variable)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise WeightsError(f"the weights are damaged: {variable.path} holds NaN or infinity")


def load_recipe(recipe: Recipe, weights: Path) -> LoadedModel:
    """Build a recipe's model on its public weights, with its adapter if it has one.

    Args:
        recipe: the recipe.
        weights: directory of the public model, from `fetch_weights`.

    Raises:
        AdapterError: the adapter is damaged, or was trained on other weights.
    """
    spec, package = recipe.spec, recipe.weights
    source, notice = str(package), [package.notice]
    if spec.task == "embedding":
        model = load_base_embedder(recipe, weights)
    else:
        model = load_base_classifier(recipe, weights)
    adapter_sha256 = None
    if recipe.adapter:
        record = read_record(recipe.adapter)
        if record["base_sha256"] != package.sha256[WEIGHTS_FILE]:
            raise AdapterError(f"{recipe.adapter}: was trained on other weights than {package}")
        apply_adapter(recipe.adapter, model)
        adapter_sha256 = sha256_of(recipe.adapter / TENSORS)
        source += f" with adapter sha256:{adapter_sha256}"
        notice.append(record["notice"])
    return LoadedModel(
        spec=spec,
        keras_model=model,
        tokenizer=load_recipe_tokenizer(recipe, weights),
        source=source,
        sha256=package.sha256[WEIGHTS_FILE],
        adapter_sha256=adapter_sha256,
        licence=(LICENCES / f"{package.licence}.txt").read_text(encoding="utf-8"),
        notice="\n".join(notice) + "\n",
    )


def load_recipe_tokenizer(recipe: Recipe, weights: Path) -> Tokenizer:
    """Build the recipe's tokenizer from the vocabulary beside its weights."""
    file = next(name for name in VOCABULARY_FILES if name in recipe.weights.sha256)
    vocabulary = read_vocabulary(weights / file)
    if recipe.architecture == "mpnet":
        return build_mpnet_tokenizer(
            vocabulary, lowercase=recipe.lowercase, strip_accents=recipe.lowercase
        )
    return build_tokenizer(vocabulary, lowercase=recipe.lowercase, strip_accents=recipe.lowercase)


def load_base_embedder(recipe: Recipe, weights: Path) -> Any:
    """Build the embedder of the public weights."""
    spec = recipe.spec
    if recipe.architecture == "mpnet":
        tokens = load_mpnet(weights, spec.gelu)
        return PooledTokens(tokens, spec.pooling or "mean", normalize=bool(spec.normalized))
    backbone = bert.load_backbone(str(weights), spec.gelu)
    return bert.make_embedder(backbone, spec.pooling or "mean", normalize=bool(spec.normalized))


def load_base_classifier(
    recipe: Recipe, weights: Path, dropout: float = 0, precision: str = "float32"
) -> Any:
    """Build the classifier before its fine-tuning, with a new head in fp32 for any precision."""
    classes = len(recipe.spec.labels or ())
    if recipe.architecture == "mpnet":
        tokens = load_mpnet(weights, recipe.spec.gelu, dropout=dropout, precision=precision)
        return mpnet.MPNetClassifier(tokens, classes, dropout=dropout)
    backbone = bert.load_backbone(
        str(weights), recipe.spec.gelu, dropout=dropout, precision=precision
    )
    return bert.make_classifier(backbone, classes, dropout=dropout)
