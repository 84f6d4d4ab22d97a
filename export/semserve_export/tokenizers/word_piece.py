"""Converts KerasHub's WordPiece tokenizer to tokenizer.json, with the same token ids.

KerasHub splits at ASCII blanks, controls, punctuation and Chinese characters, and then applies
NFKC_Casefold to each word (`pretokenize` in keras_hub/src/tokenizers/word_piece_tokenizer.py).
BERT's normaliser, which `bert_wordpiece.build_tokenizer` uses, differs for one of three unusual
texts. Here the whole text is folded first, with steps that give the same words.
"""

import string
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

UNKNOWN = "\uffff"
"""A code point that no text or vocabulary contains: a word with it becomes unknown."""
WHOLE_WORDS = [chr(code) for code in range(0xFDD0, 0xFDF0)]
"""Further code points that no text contains. Each replaces a sign that KerasHub decomposes after it
has split, such as … to ..., if the decomposed form is one piece."""
INVISIBLE = (
    r"[\x{34f}\x{115f}\x{1160}\x{17b4}\x{17b5}\x{180b}-\x{180f}\x{2065}\x{3164}\x{fe00}-\x{fe0f}"
    r"\x{ffa0}\x{fff0}-\x{fff8}\x{e0000}-\x{e0fff}]"
)
"""Default_Ignorable_Code_Point, which NFKC_Casefold drops, without controls, which split words."""
CASE_FOLDING: tuple[Any, ...] = (
    normalizers.Replace(Regex(INVISIBLE), ""),
    normalizers.NFKD(),
    normalizers.Lowercase(),
    normalizers.Replace("ß", "ss"),
    normalizers.Replace("ς", "σ"),  # noqa: RUF001 - Greek it is
    normalizers.Replace("\u0345", "ι"),  # noqa: RUF001 - the iota below a Greek vowel
    normalizers.NFKC(),
)
"""Steps that together are NFKC_Casefold, except for Cherokee."""
MAX_WORD = 100  # characters here, bytes in KerasHub


def build_word_piece(original: Any, *, strip_accents: bool | None = None) -> Tokenizer:
    """Build the tokenizer, without its special tokens, of a KerasHub `WordPieceTokenizer`.

    Args:
        original: with its vocabulary.
        strip_accents: in place of what it says itself.
    """
    vocabulary = {piece: index for index, piece in enumerate(original.get_vocabulary())}
    stripping = original.strip_accents if strip_accents is None else strip_accents
    steps = [
        normalizers.Replace(Regex(r"[\p{Cc}\p{Cf}]"), " "),
        normalizers.BertNormalizer(
            clean_text=False,
            handle_chinese_chars=original.split_on_cjk,
            strip_accents=False,
            lowercase=False,
        ),
    ]
    if stripping:
        steps += [normalizers.NFD(), normalizers.Replace(Regex(r"\p{Mn}"), "")]
    steps.append(normalizers.Replace(Regex(_unknown_blanks(folded=original.lowercase)), UNKNOWN))
    if original.lowercase:
        steps += _whole_words(vocabulary, original.suffix_indicator)
        steps += CASE_FOLDING
    tokenizer = Tokenizer(
        models.WordPiece(
            vocabulary,
            unk_token=original.oov_token,
            continuing_subword_prefix=original.suffix_indicator,
            max_input_chars_per_word=MAX_WORD,
        )
    )
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.BertPreTokenizer(),
            # BertPreTokenizer has an older table of punctuation.
            pre_tokenizers.Split(Regex(r"\p{P}"), "isolated"),
        ]
    )
    tokenizer.decoder = decoders.WordPiece(prefix=original.suffix_indicator)
    return tokenizer


def is_punctuation(character: str) -> bool:
    """Return whether KerasHub makes a separate word of the character."""
    return character in string.punctuation or unicodedata.category(character).startswith("P")


def fold(text: str) -> str:
    """Fold a text by NFKC_Casefold, except that invisible characters stay."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def unfolds_to_punctuation(character: str) -> bool:
    """Return whether folding gives punctuation, which KerasHub leaves inside words."""
    folded = fold(character)
    if is_punctuation(character):
        return not (len(folded) == 1 and is_punctuation(folded))
    return any(map(is_punctuation, folded))


@cache
def _unknown_blanks(*, folded: bool) -> str:
    """Return the class of characters that are, or unfold to, a blank KerasHub does not split at.

    No piece contains a blank, so the word is unknown.
    """

    def is_blank(character: str) -> bool:
        if character == " " or is_punctuation(character):
            return False
        blank = unicodedata.category(character) in {"Zs", "Zl", "Zp"}
        return blank or (folded and " " in fold(character))

    return _class_of(filter(is_blank, _characters()))


def _whole_words(vocabulary: dict[str, int], suffix_indicator: str) -> list[Any]:
    """Return the steps for punctuation that decomposes to several signs: … becomes the word ... .

    If this is a piece, it is renamed to a code point that no text contains, because the same three
    signs, typed separately, are three words. If no pieces spell it, its word is unknown.
    """
    steps, names = [], iter(WHOLE_WORDS)
    for form, characters in _unfolding_punctuation():
        pieces = _spell(form, vocabulary, suffix_indicator)
        if len(pieces) > 1:
            continue  # only signs that become one piece; the general folding handles others
        name = UNKNOWN
        if pieces:
            name = next(names)
            vocabulary[name] = vocabulary.pop(form)
        steps.append(normalizers.Replace(Regex(_class_of(characters)), f" {name} "))
    return steps


@cache
def _unfolding_punctuation() -> tuple[tuple[str, str], ...]:
    """Return what punctuation unfolds to, each with the characters that do."""
    forms: dict[str, str] = {}
    for character in _characters():
        if is_punctuation(character) and unfolds_to_punctuation(character):
            forms[fold(character)] = forms.get(fold(character), "") + character
    return tuple(forms.items())


def _spell(word: str, vocabulary: dict[str, int], suffix_indicator: str) -> list[str]:
    """Return the word-pieces of a word, by the longest match; empty if no pieces match."""
    pieces: list[str] = []
    while word:
        prefix = suffix_indicator if pieces else ""
        fitting = (end for end in range(len(word), 0, -1) if prefix + word[:end] in vocabulary)
        end = next(fitting, 0)
        if not end:
            return []
        pieces.append(prefix + word[:end])
        word = word[end:]
    return pieces


def _characters() -> Iterator[str]:
    """Yield every code point except surrogates and unassigned ones."""
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code)) not in {"Cs", "Cn"}:
            yield chr(code)


def _class_of(characters: Iterable[str]) -> str:
    return "[" + "".join(f"\\x{{{ord(character):x}}}" for character in characters) + "]"
