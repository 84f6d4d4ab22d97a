"""The known causes of differences from KerasHub's tokenizer.

The cause is determined from the shortest text with the difference, because a longer one may contain
unrelated unusual characters. A difference without a known cause is `UNEXPLAINED`.
"""

import json
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras_hub
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from semserve_export.tokenizers.sentence_piece import BLANK
from semserve_export.tokenizers.word_piece import (
    MAX_WORD,
    fold,
    is_punctuation,
    unfolds_to_punctuation,
)

UNEXPLAINED = "unexplained"
SCORE_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The shortest text of a difference, and its ids in both tokenizers."""

    text: str
    keras_hub: list[int]
    exported: list[int]
    original: Any
    tokenizer: Tokenizer

    def any(self, holds: Callable[[str], bool]) -> bool:
        """Return whether a condition is true for one of the characters."""
        return any(map(holds, self.text))


def cause_of(
    text: str, keras_hub_ids: list[int], exported: list[int], original: Any, tokenizer: Tokenizer
) -> str:
    """Return the first cause that matches the shortest text of a difference."""
    mismatch = Mismatch(text, keras_hub_ids, exported, original, tokenizer)
    tokenizers = keras_hub.tokenizers
    causes = dict(GENERAL)
    if isinstance(original, tokenizers.WordPieceTokenizer):
        causes |= WORD_PIECE
        if isinstance(tokenizer.normalizer, normalizers.BertNormalizer):
            causes |= BERT_OWN
    elif isinstance(original, tokenizers.BytePairTokenizer):
        causes |= BYTE_PAIR
        if isinstance(tokenizer.pre_tokenizer, pre_tokenizers.ByteLevel):
            causes |= GPT2_OWN
    elif isinstance(original, tokenizers.SentencePieceTokenizer):
        causes |= SENTENCE_PIECE
    return next((cause for cause, fits in causes.items() if fits(mismatch)), UNEXPLAINED)


def _names_a_special_token(mismatch: Mismatch) -> bool:
    return any(token in mismatch.text for token in mismatch.original.special_tokens)


def _is_newer(character: str) -> bool:
    """Return whether the Unicode versions of the libraries differ for the text."""
    if unicodedata.category(character) == "Cn":
        return True
    exported = normalizers.NFKC().normalize_str(character)
    if exported != unicodedata.normalize("NFKC", character):
        return True
    words = pre_tokenizers.BertPreTokenizer().pre_tokenize_str(f"a{character}a")
    return character in dict(words) and not is_punctuation(character)


def _folds_unlike_lower_case(character: str) -> bool:
    return character.casefold() != character.lower()


def _has_a_long_word(mismatch: Mismatch) -> bool:
    text = fold(mismatch.text) if mismatch.original.lowercase else mismatch.text
    return len(text.encode()) > MAX_WORD


def _scores_alike(mismatch: Mismatch) -> bool:
    """Return whether the two segmentations have the same score, so that rounding decides."""
    if not isinstance(mismatch.tokenizer.model, models.Unigram):
        return False
    pieces = json.loads(mismatch.tokenizer.to_str())["model"]["vocab"]
    one, other = (
        sum(pieces[place][1] for place in ids) for ids in (mismatch.keras_hub, mismatch.exported)
    )
    return len(mismatch.keras_hub) == len(mismatch.exported) and abs(one - other) < SCORE_TOLERANCE


def _joins_unknown_words(mismatch: Mismatch) -> bool:
    unknown = mismatch.original.token_to_id("\uffff")
    return (
        unknown in mismatch.keras_hub and set(mismatch.exported) - set(mismatch.keras_hub) == set()
    )


def _has_bytes_without_pieces(mismatch: Mismatch) -> bool:
    return -1 in mismatch.keras_hub


def _splits_blanks_otherwise(mismatch: Mismatch) -> bool:
    return mismatch.any(lambda each: each.isspace() or unicodedata.category(each) in {"Cc", "Zs"})


def _is_compatibility_form(character: str) -> bool:
    return unicodedata.normalize("NFKC", character) != character


Causes = dict[str, Callable[[Mismatch], bool]]
GENERAL: Causes = {
    "a special token's name, which is text here": _names_a_special_token,
    "a character that one library's Unicode has otherwise": lambda mismatch: mismatch.any(
        _is_newer
    ),
}
WORD_PIECE: Causes = {
    "a word of over 100 bytes, which is unknown to KerasHub": _has_a_long_word,
    "a sign that unfolds to punctuation": lambda mismatch: mismatch.any(unfolds_to_punctuation),
    "a letter whose folded case is not its lower case": lambda mismatch: mismatch.any(
        _folds_unlike_lower_case
    ),
    "a mark on a punctuation sign": lambda mismatch: (
        mismatch.any(lambda each: unicodedata.category(each) in {"Mn", "Me"})
        and len(mismatch.text) > 1
    ),
}
BERT_OWN: Causes = {
    "an accent or another mark": lambda mismatch: mismatch.any(
        lambda each: (
            unicodedata.normalize("NFD", each) != each
            or unicodedata.category(each) in {"Mn", "Mc", "Me"}
        )
    ),
    "a compatibility form": lambda mismatch: mismatch.any(_is_compatibility_form),
    "a control, invisible or private character": lambda mismatch: mismatch.any(
        lambda each: unicodedata.category(each) in {"Cc", "Cf", "Co"} or each in "\u3164\ufffd"
    ),
    "a blank other than the common one": lambda mismatch: mismatch.any(
        lambda each: unicodedata.category(each) in {"Zs", "Zl", "Zp"} and each != " "
    ),
    "punctuation newer than BERT's table": lambda mismatch: mismatch.any(
        lambda each: unicodedata.category(each).startswith("P")
    ),
    "an upper-case letter without accents taken off": lambda mismatch: mismatch.any(
        lambda each: each.lower() != each
    ),
}
BYTE_PAIR: Causes = {
    "a byte that the vocabulary lacks": _has_bytes_without_pieces,
    "KerasHub's own marks, ६ and Ĵ": lambda mismatch: mismatch.any(lambda each: each in "६Ĵ"),
}
GPT2_OWN: Causes = {
    "blanks, of which KerasHub splits runs unlike GPT-2": _splits_blanks_otherwise,
}
SENTENCE_PIECE: Causes = {
    f"a literal {BLANK}, which is a blank here": lambda mismatch: BLANK in mismatch.text,
    "the letter İ, which the model's map leaves and ours makes small": lambda mismatch: (
        "İ" in mismatch.text
    ),
    "two ways to cut that are as likely": _scores_alike,
    "unknown words in a row, one token in SentencePiece": _joins_unknown_words,
    "a mark on a letter that the model's map changes": lambda mismatch: mismatch.any(
        lambda each: unicodedata.category(each) in {"Mn", "Mc", "Me", "Cf"}
    ),
}
