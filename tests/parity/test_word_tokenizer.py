"""The words that word models see."""

# ruff: noqa: SIM905 - words read better as text than as a list of strings

import pytest
from semserve_export.tokenizers.word_tokenizer import END, SPECIAL, UNKNOWN, build_word_tokenizer
from tokenizers import Tokenizer

WORDS = """
    what 's new in zürich ? do ca n't she ' clock re [ ] end unk rock n roll 3 . 5
""".split()


@pytest.fixture(scope="module")
def tokenizer():
    """Stored and read back, as the server has it."""
    return Tokenizer.from_str(build_word_tokenizer(WORDS).to_str())


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("What's new in Zürich?", "what 's new in zürich ?"),
        ("Zu\u0308rich", "zürich"),  # its letter and its dots apart
        ("DON\u2019T can't", "do n't ca n't"),  # as word processors write it
        ("she're 'clock", "she [UNK] ' clock"),
        ("rock'n'roll 3.5", "rock ' n ' roll 3 . 5"),
        ("[END] [unk]", "[ end ] [ unk ]"),  # a special token's name is text
        ("naïve 今日 👩‍🍳", "[UNK] [UNK] [UNK] [UNK]"),
        ("what\u200b\x07\u00a0in", "what in"),
        (" \t\n", ""),
        ("", ""),
    ],
)
def test_text_becomes_the_words_of_the_vocabulary(tokenizer, text, tokens):
    assert [*tokens.split(), END] == tokenizer.encode(text).tokens


def test_what_is_cut_off_is_never_the_end(tokenizer):
    tokenizer.enable_truncation(3)
    try:
        assert ["what", "new", END] == tokenizer.encode("what new in zürich").tokens
    finally:
        tokenizer.no_truncation()


def test_ids_are_the_places_of_the_words_after_the_special_ones(tokenizer):
    assert [SPECIAL.index(UNKNOWN), len(SPECIAL), SPECIAL.index(END)] == tokenizer.encode(
        "nobody what"
    ).ids


def test_a_word_stands_where_it_stood_in_the_text(tokenizer):
    encoding = tokenizer.encode("She can't, in Zürich")
    assert [(0, 3), (4, 6), (6, 9), (9, 10), (11, 13), (14, 20), (0, 0)] == encoding.offsets
