"""A user's own model: a KerasHub preset, a Hugging Face directory, or a `.keras` file.

What it says of itself is used (activation, pooling, length, letters, labels); what it cannot say,
or says wrongly, the command line can.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras_hub
from tokenizers import Tokenizer

from semserve_export.adapter import apply_adapter, read_record
from semserve_export.asked import OwnModel
from semserve_export.byte_pair import build_byte_pair
from semserve_export.digest import sha256_of
from semserve_export.errors import WeightsError
from semserve_export.families import inputs_of
from semserve_export.model import LICENCES, LoadedModel
from semserve_export.oddities import odd_texts
from semserve_export.parity import compare_tokenizers
from semserve_export.preset import Preset
from semserve_export.recipes import PresetRecipe
from semserve_export.sentence_piece import build_sentence_piece
from semserve_export.spec import ModelSpec
from semserve_export.special_tokens import add_special_tokens
from semserve_export.tokenizer import build_tokenizer
from semserve_export.untrusted_model import named, ready_for_keras
from semserve_export.word_piece import build_word_piece

UNSTATED_LICENCE = "The licence of these weights was not stated when they were exported.\n"
COMPARED_TEXTS = 2000  # with KerasHub's tokenizer, at every export


def load_own(asked: OwnModel) -> LoadedModel:
    """Load the model, and say what it is.

    Raises:
        WeightsError: it cannot be read, is of no family that can be exported, or leaves open what
            must be known.
    """
    with opened(asked.path) as preset:
        return _load(asked, preset, Path(asked.path))


def load_preset_recipe(recipe: PresetRecipe, directory: Path) -> LoadedModel:
    """Load a recipe of a kept preset: as a user's own model is, but for where it comes from.

    Raises:
        WeightsError: as `load_own`.
    """
    spec, kept = recipe.spec, recipe.weights
    asked = OwnModel(str(directory), name=spec.name, labels=spec.labels or (), pair=spec.pair)
    return replace(
        load_own(asked),
        spec=spec,
        source=str(kept),
        licence=(LICENCES / f"{kept.licence}.txt").read_text(encoding="utf-8"),
        notice=f"{kept.notice}\n",
    )


def own_tokenizers(path: str) -> tuple[Any, Tokenizer]:
    """Load KerasHub's tokenizer of a user's model, and build ours from it.

    Raises:
        WeightsError: as `load_own`.
    """
    with opened(path) as preset:
        theirs = preset.load_tokenizer()
        return theirs, build_own_tokenizer(theirs, preset, hugging_face=preset.hugging_face)


@contextmanager
def opened(path: str) -> Iterator[Preset]:
    """Check a model and find its preset, for as long as it is entered.

    Raises:
        WeightsError: whatever goes wrong with it, in one line that begins with the path.
    """
    with named(path):
        try:
            with ready_for_keras(path) as checked:
                yield Preset.read(checked)
        except (OSError, ValueError, KeyError, TypeError) as error:  # what KerasHub raises
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise WeightsError(f"cannot be loaded: {reason}") from error


def _load(asked: OwnModel, preset: Preset, path: Path) -> LoadedModel:
    if asked.adapter:
        spec, model = _adapted(asked, asked.adapter, preset)
    elif (asked.task or preset.task) == "embedding":
        spec, model = _embedder(asked, preset)
    else:
        spec, model = _classifier(asked, preset)
    theirs = _tokenizer_of(asked.tokenizer) if asked.tokenizer else preset.load_tokenizer()
    if asked.split_on_cjk is not None:
        theirs.split_on_cjk = asked.split_on_cjk
    tokenizer = build_own_tokenizer(
        theirs, preset, hugging_face=preset.hugging_face, strip_accents=asked.strip_accents
    )
    weights = path if path.is_file() else preset.weights_file
    return LoadedModel(
        spec=replace(spec, inputs=inputs_of(model)),
        keras_model=model,
        tokenizer=tokenizer,
        source=path.name,
        sha256=sha256_of(weights) if weights else None,
        licence=asked.licence.read_text(encoding="utf-8") if asked.licence else UNSTATED_LICENCE,
        notice=f"{spec.name}: exported by semserve-export from {path.name}.\n",
        parity=compare_tokenizers(theirs, tokenizer, odd_texts(COMPARED_TEXTS)),
    )


def _tokenizer_of(path: str) -> Any:
    with opened(path) as preset:
        return preset.load_tokenizer()


def build_own_tokenizer(
    theirs: Any, preset: Preset, *, hugging_face: bool, strip_accents: bool | None = None
) -> Tokenizer:
    """Build our tokenizer from KerasHub's.

    A model trained in KerasHub has seen texts as KerasHub's tokenizer reads them; one from Hugging
    Face as BERT's or GPT-2's own does, an uncased one without accents unless its file denies it.

    Args:
        theirs: KerasHub's tokenizer.
        preset: it knows the family, and what the file of a Hugging Face tokenizer says.
        hugging_face: whether the model was trained outside KerasHub.
        strip_accents: in place of what the preset says.
    """
    kinds = keras_hub.tokenizers
    if isinstance(theirs, kinds.BytePairTokenizer):
        tokenizer = build_byte_pair(theirs, gpt2_words=hugging_face)
    elif isinstance(theirs, kinds.SentencePieceTokenizer):
        tokenizer = build_sentence_piece(theirs)
    elif not hugging_face:
        tokenizer = build_word_piece(theirs, strip_accents=strip_accents)
    else:
        if strip_accents is None:
            strip_accents = preset.tokenizer_config.get("strip_accents")
        tokenizer = build_tokenizer(
            theirs.get_vocabulary(),
            lowercase=theirs.lowercase,
            strip_accents=theirs.lowercase if strip_accents is None else strip_accents,
        )
    add_special_tokens(tokenizer, preset.family.classifier.preprocessor_cls(theirs))
    return tokenizer


def _embedder(asked: OwnModel, preset: Preset) -> tuple[ModelSpec, Any]:
    activation = asked.activation or preset.activation
    pooling, normalize = preset.pooling
    pooling = asked.pooling or pooling
    normalize = normalize if asked.normalize is None else asked.normalize
    model = preset.load_embedder(activation, pooling, normalize=normalize)
    spec = ModelSpec(
        name=asked.served_name,
        description=asked.description or f"embeddings by {Path(asked.path).name}",
        task="embedding",
        activation=activation,
        max_sequence_length=asked.max_sequence_length or preset.max_sequence_length(model.backbone),
        pooling=pooling,
        normalized=normalize,
        metric="cosine",
    )
    return spec, model


def _adapted(asked: OwnModel, adapter: Path, preset: Preset) -> tuple[ModelSpec, Any]:
    """Put on the backbone what `train` learnt on it; labels and length are what they were there."""
    record = read_record(adapter)
    weights = preset.weights_file
    if record["base_sha256"] != (sha256_of(weights) if weights else None):
        raise WeightsError(f"{adapter} was trained on other weights")
    model = preset.make_classifier(len(record["labels"]))
    apply_adapter(adapter, model)
    spec = ModelSpec(
        name=asked.served_name,
        description=asked.description or f"classification by {Path(asked.path).name}, fine-tuned",
        task="classification",
        activation=record["activation"],
        max_sequence_length=asked.max_sequence_length or preset.max_sequence_length(model.backbone),
        labels=tuple(record["labels"]),
        pair=True,
    )
    return spec, model


def _classifier(asked: OwnModel, preset: Preset) -> tuple[ModelSpec, Any]:
    activation = asked.activation or preset.activation
    model = preset.load_classifier(activation)
    # A class without a name is told by its number, which is what its training called it.
    labels = asked.labels or preset.labels or tuple(map(str, range(model.num_classes)))
    if len(labels) != model.num_classes:
        raise WeightsError(
            f"{model.num_classes} classes need as many labels, in the order of the logits; give"
            f" --label {model.num_classes} times"
        )
    spec = ModelSpec(
        name=asked.served_name,
        description=asked.description or f"classification by {Path(asked.path).name}",
        task="classification",
        activation=activation,
        max_sequence_length=asked.max_sequence_length or preset.max_sequence_length(model.backbone),
        labels=labels,
        pair=asked.pair,
    )
    return spec, model
