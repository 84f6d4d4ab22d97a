"""KerasHub's way with WordPiece as a tokenizer.json: what a model trained on its strings has seen.

KerasHub splits at ASCII blanks, controls, punctuation and Chinese characters, and folds a word by
NFKC_Casefold only then (`pretokenize` in keras_hub/src/tokenizers/word_piece_tokenizer.py). BERT's
own normaliser, which `tokenizer.build_tokenizer` writes, reads one odd text in three otherwise.
Here the whole text is folded first, in an order that gives the same words.
"""

import string
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

UNKNOWN = "\uffff"
"""No character of any text or vocabulary: the word that it stands in becomes unknown."""
WHOLE_WORDS = [chr(code) for code in range(0xFDD0, 0xFDF0)]
"""No characters either: each stands for a sign that KerasHub unfolds after it has split, as … to
..., and whose unfolded form is one piece."""
INVISIBLE = (
    r"[\x{34f}\x{115f}\x{1160}\x{17b4}\x{17b5}\x{180b}-\x{180f}\x{2065}\x{3164}\x{fe00}-\x{fe0f}"
    r"\x{ffa0}\x{fff0}-\x{fff8}\x{e0000}-\x{e0fff}]"
)
"""Default_Ignorable_Code_Point less the controls, which split words: NFKC_Casefold drops them."""
CASE_FOLDING: tuple[Any, ...] = (
    normalizers.Replace(Regex(INVISIBLE), ""),
    normalizers.NFKD(),
    normalizers.Lowercase(),
    normalizers.Replace("ß", "ss"),
    normalizers.Replace("ς", "σ"),  # noqa: RUF001 - Greek it is
    normalizers.Replace("\u0345", "ι"),  # noqa: RUF001 - the iota below a Greek vowel
    normalizers.NFKC(),
)
"""The steps that together are NFKC_Casefold, but for Cherokee."""
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
            # Its table of punctuation is an old one.
            pre_tokenizers.Split(Regex(r"\p{P}"), "isolated"),
        ]
    )
    tokenizer.decoder = decoders.WordPiece(prefix=original.suffix_indicator)
    return tokenizer


def is_punctuation(character: str) -> bool:
    """Tell whether KerasHub makes a word of the character alone."""
    return character in string.punctuation or unicodedata.category(character).startswith("P")


def fold(text: str) -> str:
    """Fold a text by NFKC_Casefold, except that what is invisible stays."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def unfolds_to_punctuation(character: str) -> bool:
    """Tell whether folding makes punctuation of it that KerasHub, having split, leaves in words."""
    folded = fold(character)
    if is_punctuation(character):
        return not (len(folded) == 1 and is_punctuation(folded))
    return any(map(is_punctuation, folded))


@cache
def _unknown_blanks(*, folded: bool) -> str:
    """Return the class of characters that are, or unfold to, a blank KerasHub does not split at.

    No piece has a blank in it, so that the word around is unknown.
    """

    def is_blank(character: str) -> bool:
        if character == " " or is_punctuation(character):
            return False
        blank = unicodedata.category(character) in {"Zs", "Zl", "Zp"}
        return blank or (folded and " " in fold(character))

    return _class_of(filter(is_blank, _characters()))


def _whole_words(vocabulary: dict[str, int], suffix_indicator: str) -> list[Any]:
    """Give the steps for punctuation that unfolds to several signs: … becomes the word ... .

    Where that is a piece, it gets the name of one that no text can have, since the same three signs
    typed one by one are three words. Where no pieces spell it, its word is unknown.
    """
    steps, names = [], iter(WHOLE_WORDS)
    for form, characters in _unfolding_punctuation():
        pieces = _spell(form, vocabulary, suffix_indicator)
        if len(pieces) > 1:
            continue  # one sign for one piece; what takes several is left to the general folding
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
    """Return the word-pieces of a word, the longest first; none where there are none that fit."""
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
    """Give every code point but the surrogates and the unassigned."""
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code)) not in {"Cs", "Cn"}:
            yield chr(code)


def _class_of(characters: Iterable[str]) -> str:
    return "[" + "".join(f"\\x{{{ord(character):x}}}" for character in characters) + "]"
