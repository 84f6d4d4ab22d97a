"""tokenizer.json reads texts as KerasHub's graph does, and every difference has a known cause."""

import io
from functools import cache

import keras_hub
import pytest
import sentencepiece
import tensorflow as tf
from parity.families import FAMILIES, WORD_PIECES, byte_pairs, make_tokenizer
from semserve_export.errors import WeightsError
from semserve_export.tokenizers.bert_wordpiece import build_tokenizer
from semserve_export.tokenizers.byte_pair import build_byte_pair
from semserve_export.tokenizers.fuzz_texts import odd_texts
from semserve_export.tokenizers.parity import compare_tokenizers, in_graph
from semserve_export.tokenizers.sentence_piece import build_sentence_piece
from semserve_export.tokenizers.special_tokens import add_special_tokens
from semserve_export.tokenizers.word_piece import build_word_piece
from tokenizers import Tokenizer, normalizers, pre_tokenizers

TEXTS = list(odd_texts(1500))
FEW_TEXTS = TEXTS[:300]  # where many differ: each is cut down, which takes a hundred readings
MOST_DIFFERENCES = 35  # of 1,500 texts, most of which are odd on purpose
PAIR = ("the cat sat", "hello boat!")


@cache
def read(family):
    """KerasHub's tokenizer of a family, and what reads texts by it in a graph, traced once."""
    original = make_tokenizer(family)
    return original, in_graph(original)


def build(original):
    if isinstance(original, keras_hub.tokenizers.SentencePieceTokenizer):
        return build_sentence_piece(original)
    if isinstance(original, keras_hub.tokenizers.BytePairTokenizer):
        return build_byte_pair(original)
    return build_word_piece(original)


@pytest.mark.parametrize("family", FAMILIES)
def test_odd_texts_are_read_as_by_keras_hub_or_for_a_known_cause(family):
    original, reads = read(family)
    parity = compare_tokenizers(original, build(original), TEXTS, read=reads)
    assert {"unexplained": 0} == {"unexplained": parity.unexplained}, parity
    assert parity.differing < MOST_DIFFERENCES, parity


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("strip_accents", [True, False])
def test_letters_are_folded_as_by_keras_hub(lowercase, strip_accents):
    original = keras_hub.models.BertTokenizer(
        vocabulary=WORD_PIECES, lowercase=lowercase, strip_accents=strip_accents
    )
    parity = compare_tokenizers(original, build_word_piece(original), TEXTS)
    assert 0 == parity.unexplained, parity
    assert parity.differing < MOST_DIFFERENCES, parity


def test_chinese_characters_are_words_only_where_keras_hub_makes_them_words():
    original = make_tokenizer("Bert", split_on_cjk=False)
    parity = compare_tokenizers(
        original, build_word_piece(original), ["今日", "今 日", "a今日b", "漢"]
    )
    assert 0 == parity.differing, parity


def test_a_mistake_is_told_as_one():
    original, reads = read("Roberta")
    exported = build_byte_pair(original)
    exported.normalizer = normalizers.Replace("b", "")
    parity = compare_tokenizers(original, exported, ["a boat", "a cat"], read=reads)
    assert (2, 1, 1) == (parity.texts, parity.differing, parity.unexplained)
    assert "b" == parity.examples[0].text, "cut down to what differs"


def test_byte_level_bpe_loses_no_byte():
    tokenizer = build_byte_pair(make_tokenizer("Roberta"))
    every = [chr(code) for code in range(1, 0x3000)] + ["🎉", " a", "  b", "<mask>", "</s>"]
    for text, encoding in zip(every, tokenizer.encode_batch(every), strict=True):
        assert text == tokenizer.decode(encoding.ids, skip_special_tokens=False)


def test_gpt2s_own_words_differ_from_keras_hubs_in_blanks_alone():
    original, reads = read("Roberta")
    exported = build_byte_pair(original)
    exported.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=original.add_prefix_space)
    parity = compare_tokenizers(original, exported, FEW_TEXTS, read=reads)
    assert 0 == parity.unexplained
    assert parity.causes["blanks, of which KerasHub splits runs unlike GPT-2"] > 10


def test_berts_own_normaliser_differs_from_keras_hubs_for_known_causes():
    original = make_tokenizer("Bert", lowercase=True)
    exported = build_tokenizer(WORD_PIECES, lowercase=True, strip_accents=True)
    parity = compare_tokenizers(original, exported, FEW_TEXTS)
    assert 0 == parity.unexplained, parity
    assert parity.differing > 50


@pytest.mark.parametrize("family", FAMILIES)
def test_special_tokens_stand_where_keras_hub_puts_them(family):
    """`test_families` holds whole preprocessors, traced as `fit` traces them, against ours."""
    original, reads = read(family)
    preprocessor = getattr(keras_hub.models, f"{family}TextClassifierPreprocessor")(original)
    exported = build(original)
    add_special_tokens(exported, preprocessor)
    for texts in (("the boat",), PAIR):
        parts = tuple(tf.constant([ids]) for text in texts for ids in reads([text]))
        token_ids, segment_ids = preprocessor.packer(parts)
        encoded = exported.encode(*texts)
        used = len(encoded.ids)
        assert encoded.ids == token_ids[0, :used].numpy().tolist()
        assert {original.pad_token_id} == {*token_ids[0, used:].numpy().tolist()}
        assert encoded.type_ids == segment_ids[0, :used].numpy().tolist()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_name_of_a_special_token_is_text(family):
    original = make_tokenizer(family)
    exported = Tokenizer.from_str(build(original).to_str())
    names = {*original.special_tokens, "<s>", "</s>", "<pad>", "<mask>", "[SEP]", "[CLS]", "[PAD]"}
    specials = {original.start_token_id, original.end_token_id, original.pad_token_id}
    for name in names:
        assert not specials.intersection(
            exported.encode(f"a {name} b", add_special_tokens=False).ids
        )


def test_a_vocabulary_without_every_byte_is_refused():
    vocabulary, _ = byte_pairs()
    few = {piece: place for piece, place in vocabulary.items() if piece not in {"é", "<unk>"}}
    merges = [merge for merge in byte_pairs()[1] if "é" not in merge]
    original = keras_hub.models.RobertaTokenizer(vocabulary=few, merges=merges)
    with pytest.raises(WeightsError, match="lacks 1 of the 256 bytes"):
        build_byte_pair(original)


def test_a_kind_of_sentence_piece_that_cannot_be_kept_is_refused_by_name():
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the cat sat on the mat"]),
        model_writer=written, vocab_size=20, model_type="bpe", minloglevel=2,
        pad_id=0, bos_id=1, eos_id=2, unk_id=3, pad_piece="[PAD]", bos_piece="[CLS]",
        eos_piece="[SEP]", unk_piece="[UNK]",
    )  # fmt: skip
    original = keras_hub.models.DebertaV3Tokenizer(proto=written.getvalue())
    with pytest.raises(WeightsError, match="of the kind BPE; Unigram and Word can be exported"):
        build_sentence_piece(original)
