"""Converts a TextVectorization layer of Keras to tokenizer.json.

TensorFlow converts only the letters A to Z to lower case, removes ASCII punctuation, and splits at
ASCII blanks. Id 0 is padding, and id 1 is a word that is not in the vocabulary.
"""

import string
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from semserve_export.errors import WeightsError
from semserve_export.failures import reason_of
from semserve_export.keras_models.token_source import TokenSource
from semserve_export.report import Fact, Origin

PADDING, UNKNOWN = 0, "[UNK]"
PUNCTUATION = r"""[!"#$%&()*+,\-./:;<=>?@\[\\\]^_`{|}~']"""
"""The characters that `strip_punctuation` removes, as documented for TextVectorization."""
BLANKS = r"[ \t\n\x0b\f\r]+"
CHARACTER = r"[\s\S]"
STANDARDIZE = ("lower_and_strip_punctuation", "lower", "strip_punctuation", None)
SPLIT = ("whitespace", "character", None)
SPECIAL = 2  # number of ids of padding and unknown words


def read_text_vectorization(layer: Any, origin: Origin = "stated") -> TokenSource:
    """Build the tokenizer of a TextVectorization layer.

    Args:
        layer: adapted, or with a vocabulary.
        origin: where it was found.

    Raises:
        WeightsError: a setting cannot be expressed in tokenizer.json; the message names it.
    """
    config = layer.get_config()
    if type(layer) is not keras.layers.TextVectorization:
        raise WeightsError(
            f"tokenizer: the layer {layer.name} is a {type(layer).__name__}, a class of your own,"
            " which may read texts otherwise than TextVectorization; use that class itself"
        )
    require_settings(config)
    vocabulary = [str(word) for word in layer.get_vocabulary()]
    if len(vocabulary) <= SPECIAL:
        raise WeightsError("tokenizer: the TextVectorization has no vocabulary; call adapt() first")
    length = config["output_sequence_length"]
    standardize, split = config["standardize"], config["split"]
    facts = (
        Fact("words", f"{len(vocabulary)}, the unknown one included"),
        Fact("standardize, split", f"{standardize}, {split}"),
    )
    return TokenSource(
        tokenizer=_build(vocabulary, standardize, split),
        read=lambda texts: _read(layer, texts),
        title="the TextVectorization layer",
        origin=origin,
        words=tuple(vocabulary[SPECIAL:]),
        length=length,
        padding="post",
        truncating="post",
        facts=facts,
    )


def from_vocabulary(words: Sequence[str]) -> TokenSource:
    """Build the tokenizer of `TextVectorization(vocabulary=words)`.

    Raises:
        WeightsError: Keras refuses the vocabulary, for example if it contains a word twice.
    """
    try:
        layer = keras.layers.TextVectorization(vocabulary=list(words))
    except ValueError as error:
        raise WeightsError(
            f"tokenizer: Keras refuses the vocabulary: {reason_of(error)}"
        ) from error
    return read_text_vectorization(layer)


def require_settings(config: dict[str, Any]) -> None:
    """Refuse a layer that tokenizer.json cannot express.

    Args:
        config: config of a TextVectorization layer.

    Raises:
        WeightsError: the message names the setting.
    """
    reasons = {
        "output_mode": (config["output_mode"] == "int", "int alone gives token ids"),
        "standardize": (
            config["standardize"] in STANDARDIZE,
            "a function of your own is no part of a tokenizer.json",
        ),
        "split": (
            config["split"] in SPLIT,
            "a function of your own is no part of a tokenizer.json",
        ),
        "ngrams": (
            config["ngrams"] in (None, 1, (1,), [1]),
            "a tokenizer.json reads single words",
        ),
        "ragged": (not config["ragged"], "the model must take padded sequences"),
        "encoding": (config["encoding"].lower() in {"utf-8", "utf8"}, "texts come in UTF-8"),
    }
    for name, (supported, reason) in reasons.items():
        if not supported:
            value = config[name]
            shown = getattr(value, "__name__", None) or repr(value)
            raise WeightsError(
                f"tokenizer: TextVectorization with {name}={shown} cannot be exported: {reason}"
            )


def _build(vocabulary: Sequence[str], standardize: str | None, split: str | None) -> Tokenizer:
    ids = {word: place for place, word in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=UNKNOWN))
    steps: list[Any] = []
    if standardize and "lower" in standardize:
        pairs = zip(string.ascii_uppercase, string.ascii_lowercase, strict=True)
        steps += [normalizers.Replace(upper, lower) for upper, lower in pairs]
    if standardize and "strip_punctuation" in standardize:
        steps.append(normalizers.Replace(Regex(PUNCTUATION), ""))
    if steps:
        tokenizer.normalizer = normalizers.Sequence(steps)
    if split == "whitespace":
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(BLANKS), "removed")
    elif split == "character":
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(CHARACTER), "isolated")
    return tokenizer


def _read(layer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Tokenise texts as the layer does, without padding and truncation."""
    config = layer.get_config() | {
        "output_sequence_length": None,
        "vocabulary": layer.get_vocabulary(include_special_tokens=False),
        "name": None,
    }
    config.pop("vocabulary_size", None)
    ragged = config["split"] is not None
    whole = keras.layers.TextVectorization(**config | {"ragged": ragged})
    rows = whole(tf.constant([text.encode() for text in texts]))
    listed = rows.to_list() if ragged else rows.numpy().reshape(-1, 1).tolist()
    # Without a split, the empty text is also a word, with the id of padding.
    return [[int(one) for one in row if one != PADDING or ragged] for row in listed]
