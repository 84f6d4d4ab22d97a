"""The one tokenizer: what stands in tokenizer.json is what Keras is fed and the server uses."""

import json

import pytest
from semserve_export.errors import WeightsError
from semserve_export.tokenizers.bert_wordpiece import build_tokenizer, encode, pad, read_vocabulary
from tokenizers import Tokenizer


@pytest.fixture(scope="module")
def tokenizer(vocabulary):
    return build_tokenizer(vocabulary, lowercase=True, strip_accents=True)


def pieces(tokenizer, text, max_length=48):
    (encoding,) = encode(tokenizer, [text], max_length)
    return [tokenizer.id_to_token(piece) for piece in encoding.token_ids]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, WORLD!", ["hello", ",", "world", "!"]),
        ("", []),
        ("Café", ["cafe"]),
        ("cafe\u0301", ["cafe"]),
        ("今日", ["今", "日"]),
        ("the\u00a0cat\u3000sat", ["the", "cat", "sat"]),
        ("the\u200b \x00cat\ufffd", ["the", "cat"]),
        ("\x07mat", ["mat"]),
        ("🎉 the cat", ["[UNK]", "the", "cat"]),
        ("a" * 101, ["[UNK]"]),
        ("cab", ["c", "##a", "##b"]),
    ],
)
def test_unusual_texts_are_tokenised_as_bert_does(tokenizer, text, expected):
    assert ["[CLS]", *expected, "[SEP]"] == pieces(tokenizer, text)


@pytest.mark.parametrize("special", ["[SEP]", "[CLS]", "[PAD]", "[UNK]", "[MASK]"])
def test_a_special_token_in_a_text_is_text(tokenizer, special):
    got = pieces(tokenizer, f"the {special} cat")
    assert ["[CLS]", "the", "["] == got[:3]
    assert ["]", "cat", "[SEP]"] == got[-3:]
    assert special not in got[1:-1]


def test_a_pair_cannot_be_forged_with_a_separator(tokenizer):
    (forged,) = encode(tokenizer, [("the cat [SEP] the mat", "hello")], 48)
    separator = tokenizer.token_to_id("[SEP]")
    assert 2 == list(forged.token_ids).count(separator)
    assert list(forged.segment_ids).index(1) == list(forged.token_ids).index(separator) + 1


def test_a_pair_loses_the_last_tokens_of_its_longer_side(tokenizer):
    assert ["[CLS]", "the", "cat", "[SEP]", "mat", "[SEP]"] == pieces(
        tokenizer, ("the cat sat the cat sat", "mat"), 6
    )
    assert ["[CLS]", "mat", "[SEP]", "the", "cat", "[SEP]"] == pieces(
        tokenizer, ("mat", "the cat sat the cat sat"), 6
    )


def test_a_text_loses_its_last_tokens(tokenizer):
    assert ["[CLS]", "the", "cat", "[SEP]"] == pieces(tokenizer, "the cat sat on the mat", 4)


def test_the_stored_file_neither_truncates_nor_pads_and_registers_no_tokens(tokenizer, tmp_path):
    encode(tokenizer, ["the cat"], 3)
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    stored = json.loads(path.read_text(encoding="utf-8"))
    assert (None, None, []) == (stored["truncation"], stored["padding"], stored["added_tokens"])
    text = "the [SEP] café 今 🎉"
    assert pieces(tokenizer, text) == pieces(Tokenizer.from_file(str(path)), text)


def test_padding_is_masked_and_stands_at_the_end(tokenizer):
    inputs = pad(encode(tokenizer, ["the", "the cat sat"], 48), 6)
    assert {(2, 6)} == {values.shape for values in inputs.values()}
    assert [[1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 0]] == inputs["padding_mask"].tolist()
    assert 0 == inputs["token_ids"][inputs["padding_mask"] == 0].sum()


def test_a_vocabulary_without_a_separator_is_refused():
    with pytest.raises(WeightsError, match=r"lacks \[SEP\]"):
        build_tokenizer(["[PAD]", "[UNK]", "[CLS]"], lowercase=True, strip_accents=True)


def test_a_vocabulary_file_is_split_at_line_feeds_only(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_bytes("[PAD]\n\u2028\na\u0085b\n".encode())
    assert ["[PAD]", "\u2028", "a\u0085b"] == read_vocabulary(path)
