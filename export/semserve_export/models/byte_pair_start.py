"""Initialises a RoBERTa from a BERT: byte-level pieces get the vectors of the same letters.

The layers of both compute the same. The differences are the pieces, the segments, which a RoBERTa
lacks, and the two separators between texts. The initial vector of a piece is the mean of the
word-piece vectors of the same letters; segment 0 is added to the initial positions.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from tokenizers import normalizers, pre_tokenizers

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
BERT_SPECIAL = ("[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]")
INSIDE = "##"  # the prefix of a word-piece that continues a word

Array = npt.NDArray[np.float32]


def word_pieces_of(piece: str, known: Mapping[str, int]) -> list[int]:
    """Return the word-pieces of a byte-level piece's letters; `[UNK]` if there are none.

    A piece that begins with a blank or a capital begins a word; any other continues one.

    Args:
        piece: a piece of a byte-level vocabulary.
        known: the id of each word-piece of an
            uncased BERT.
    """
    if piece in SPECIAL:
        return [known[BERT_SPECIAL[SPECIAL.index(piece)]]]
    text = bytes(_BYTES[letter] for letter in piece).decode("utf-8", errors="ignore")
    inside = not text.startswith(" ") and text[:1] == text[:1].lower()
    found: list[int] = []
    for word, _ in _SPLIT.pre_tokenize_str(_NORMALIZE.normalize_str(text)):
        found += _longest_first(word, known, inside=inside)
        inside = False
    return found or [known["[UNK]"]]


def vectors_of(pieces: Sequence[str], known: Mapping[str, int], words: Array) -> Array:
    """Return the initial vector of each byte-level piece, fp32 [pieces, width].

    Args:
        pieces: a byte-level vocabulary in the order of its ids.
        known: the id of each word-piece, which is its row in `words`.
        words: fp32 [word-pieces, width].
    """
    means = [words[word_pieces_of(piece, known)].mean(0) for piece in pieces]
    return np.stack(means).astype(np.float32)


_NORMALIZE = normalizers.BertNormalizer(
    clean_text=True, handle_chinese_chars=True, strip_accents=True, lowercase=True
)
_SPLIT = pre_tokenizers.BertPreTokenizer()


def _byte_of_letter() -> dict[str, int]:
    """Return the byte of each letter of a byte-level vocabulary (GPT-2's table)."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {
        chr(256 + place): byte for place, byte in enumerate(hidden)
    }


_BYTES = _byte_of_letter()


def _longest_first(word: str, known: Mapping[str, int], *, inside: bool) -> list[int]:
    """Split a word as WordPiece does; letters without a word-piece are dropped."""
    found, start = [], 0
    while start < len(word):
        prefix = INSIDE if start or inside else ""
        for end in range(len(word), start, -1):
            number = known.get(prefix + word[start:end])
            if number is None and prefix:  # a sign is not a continuation in WordPiece
                number = known.get(word[start:end]) if not word[start:end].isalnum() else None
            if number is not None:
                found.append(number)
                start = end
                break
        else:
            start += 1
    return found
