"""A byte-level piece begins as the mean of the word-piece vectors of its letters."""

import numpy as np
import pytest
from semserve_export.models.byte_pair_start import vectors_of, word_pieces_of

PIECES = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "man", "##s", "##man", "a", "e", "cafe", "!"),
    *("play", "##ing", "ing"),
]
KNOWN = {piece: number for number, piece in enumerate(PIECES)}


@pytest.mark.parametrize(
    ("piece", "expected"),
    [
        ("<s>", ["[CLS]"]),
        ("<pad>", ["[PAD]"]),
        ("</s>", ["[SEP]"]),
        ("<mask>", ["[MASK]"]),
        ("\u0120man", ["man"]),
        ("Man", ["man"]),
        ("man", ["##man"]),
        ("ing", ["##ing"]),
        ("\u0120playing", ["play", "##ing"]),
        ("\u0120mans", ["man", "##s"]),
        ("\u0120caf\u00c3\u00a9", ["cafe"]),
        ("!", ["!"]),
        ("\u0120", ["[UNK]"]),
        ("\u00c3", ["[UNK]"]),
        ("\u0120zz", ["[UNK]"]),
    ],
)
def test_a_piece_has_the_word_pieces_of_its_letters(piece, expected):
    assert expected == [PIECES[number] for number in word_pieces_of(piece, KNOWN)]


def test_the_vector_of_a_piece_is_the_mean_of_those_of_its_word_pieces():
    words = np.arange(2 * len(PIECES), dtype=np.float32).reshape(-1, 2) ** 2
    found = vectors_of(["\u0120man", "\u0120playing"], KNOWN, words)
    expected = [words[KNOWN["man"]], (words[KNOWN["play"]] + words[KNOWN["##ing"]]) / 2]
    np.testing.assert_allclose(found, expected)
