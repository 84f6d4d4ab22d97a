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
    theirs: Any, family: Family, *, strip_accents: bool | None = None
) -> Tokenizer:
    """Convert a KerasHub tokenizer, so that it tokenises texts as in training.

    Args:
        theirs: KerasHub's tokenizer.
        family: its architecture.
        strip_accents: overrides its own setting.

    Raises:
        WeightsError: it expects texts that are already split into words.
    """
    if not getattr(theirs, "split", True):
        raise WeightsError(
            "the tokenizer was saved with split=False, so it reads words that are apart already;"
            " save the model with a tokenizer that splits texts"
        )
    kinds = keras_hub.tokenizers
    if isinstance(theirs, kinds.BytePairTokenizer):
        tokenizer = build_byte_pair(theirs)
    elif isinstance(theirs, kinds.SentencePieceTokenizer):
        tokenizer = build_sentence_piece(theirs)
    else:
        tokenizer = build_word_piece(theirs, strip_accents=strip_accents)
    add_special_tokens(tokenizer, family.classifier.preprocessor_cls(theirs))
    return tokenizer
