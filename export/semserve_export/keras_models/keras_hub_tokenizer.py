"""Converts a KerasHub tokenizer to tokenizer.json, with the special tokens of its family."""

from typing import Any

import keras_hub
from tokenizers import Tokenizer

from semserve_export.errors import WeightsError
from semserve_export.models.families import Family
from semserve_export.tokenizers.byte_pair import build_byte_pair
from semserve_export.tokenizers.sentence_piece import build_sentence_piece
from semserve_export.tokenizers.special_tokens import add_special_tokens
from semserve_export.tokenizers.word_piece import build_word_piece


def build_keras_hub_tokenizer(
    original: Any, family: Family, *, strip_accents: bool | None = None
) -> Tokenizer:
    """Convert a KerasHub tokenizer, so that it tokenises texts as in training.

    Args:
        original: KerasHub's tokenizer.
        family: its architecture.
        strip_accents: overrides its own setting.

    Raises:
        WeightsError: it expects texts that are already split into words.
    """
    if not getattr(original, "split", True):
        raise WeightsError(
            "the tokenizer was saved with split=False, so it reads words that are apart already;"
            " save the model with a tokenizer that splits texts"
        )
    kinds = keras_hub.tokenizers
    if isinstance(original, kinds.BytePairTokenizer):
        tokenizer = build_byte_pair(original)
    elif isinstance(original, kinds.SentencePieceTokenizer):
        tokenizer = build_sentence_piece(original)
    else:
        tokenizer = build_word_piece(original, strip_accents=strip_accents)
    add_special_tokens(tokenizer, family.classifier.preprocessor_cls(original))
    return tokenizer
