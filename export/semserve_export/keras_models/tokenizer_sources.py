"""Finds the tokenizer of a Keras model: the argument, by its kind, or a layer of the model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
from tokenizers import Tokenizer

from semserve_export.errors import WeightsError
from semserve_export.keras_models.id_model import IdModel
from semserve_export.keras_models.keras_hub_source import KINDS as KERAS_HUB_KINDS
from semserve_export.keras_models.keras_hub_source import read_keras_hub
from semserve_export.keras_models.text_vectorization import from_vocabulary, read_text_vectorization
from semserve_export.keras_models.token_source import TokenSource
from semserve_export.keras_models.word_index import WordIndex, padding_id, read_word_index
from semserve_export.model_spec import Padding
from semserve_export.tokenizers.bert_wordpiece import build_tokenizer

KINDS = (
    "a KerasHub tokenizer or preprocessor, a TextVectorization layer, a word index (a dict or its"
    " JSON file), a tokenizers.Tokenizer, a vocabulary file or a directory with tokenizer.json"
)
TOKENIZER_HINT = (
    "tokenizer: the model takes token ids, and holds nothing that makes them of texts; give what"
    f" made them in its training (--tokenizer): {KINDS}"
)
BERT_PIECES = frozenset({"[PAD]", "[UNK]", "[CLS]", "[SEP]"})


def find_source(tokenizer: Any, model: IdModel, rows: int | None) -> TokenSource:
    """Find the tokenizer of a model.

    Args:
        tokenizer: the argument of the caller; None if the model must contain it.
        model: the model, which may contain a TextVectorization layer.
        rows: number of rows of the model's embedding, if it has one.

    Raises:
        WeightsError: there is no tokenizer, two contradict each other, or it is not supported.
    """
    if model.vectorization is not None:
        if tokenizer is not None and tokenizer is not model.vectorization:
            raise WeightsError(
                f"tokenizer: the model holds its own, the layer {model.vectorization.name}; leave"
                " tokenizer out"
            )
        return read_text_vectorization(model.vectorization, "found")
    if tokenizer is None:
        raise WeightsError(TOKENIZER_HINT)
    return tokenizer if isinstance(tokenizer, TokenSource) else _of_kind(tokenizer, rows)


def _of_kind(tokenizer: Any, rows: int | None) -> TokenSource:
    if isinstance(tokenizer, keras.layers.TextVectorization):
        return read_text_vectorization(tokenizer)
    if isinstance(tokenizer, KERAS_HUB_KINDS):
        return read_keras_hub(tokenizer)
    if isinstance(tokenizer, Tokenizer):
        return from_library(tokenizer)
    if isinstance(tokenizer, str | Path):
        return _from_path(Path(tokenizer), rows)
    if isinstance(tokenizer, Mapping):
        return WordIndex.of_mapping(tokenizer, rows).source()
    if hasattr(tokenizer, "texts_to_sequences") and hasattr(tokenizer, "get_config"):
        return WordIndex.of_settings(tokenizer.get_config()).source()
    raise WeightsError(f"tokenizer: a {type(tokenizer).__name__} is none of these: {KINDS}")


def from_library(tokenizer: Tokenizer) -> TokenSource:
    """Use a tokenizer of the tokenizers library, without its padding and truncation."""
    copy = Tokenizer.from_str(tokenizer.to_str())
    padding, truncation = copy.padding or {}, copy.truncation or {}
    copy.no_padding()
    copy.no_truncation()
    return TokenSource(
        tokenizer=copy,
        read=lambda texts: [one.ids for one in copy.encode_batch_fast(list(texts))],
        title="the tokenizers.Tokenizer",
        adds_separators=copy.num_special_tokens_to_add(is_pair=False) > 0,
        length=padding.get("length") or None,
        padding=_SIDES.get(padding.get("direction", "")),
        truncating=_SIDES.get(truncation.get("direction", "")),
        most=truncation.get("max_length"),
        pad_id=int(padding["pad_id"]) if padding else padding_id(copy.get_vocab()),
    )


_SIDES: dict[str, Padding] = {"left": "pre", "right": "post"}


def _from_path(path: Path, rows: int | None) -> TokenSource:
    if path.is_dir():
        for name in ("tokenizer.json", "vocab.txt"):
            if (path / name).is_file():
                return _from_path(path / name, rows)
        raise WeightsError(f"{path}: holds neither tokenizer.json nor vocab.txt")
    if not path.is_file():
        raise WeightsError(f"{path}: no such file or directory of a tokenizer")
    if path.suffix == ".json":
        index = read_word_index(path, rows)
        if index:
            return index.source()
        try:
            return from_library(Tokenizer.from_file(str(path)))
        except Exception as error:  # the library raises only Exception
            raise WeightsError(f"{path}: cannot be read: {error}") from error
    try:
        words = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read: {error}") from error
    if set(words) >= BERT_PIECES:
        lower = not any(word != word.lower() for word in words if not word.startswith("["))
        return from_library(build_tokenizer(words, lowercase=lower, strip_accents=lower))
    return from_vocabulary(words)
