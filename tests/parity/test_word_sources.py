"""TextVectorization layers and word indexes: tokenizer.json reads any text as Keras does."""

import json
from itertools import product

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.legacy.preprocessing.text import Tokenizer as KerasTokenizer
from semserve_export.errors import WeightsError
from semserve_export.keras_models.text_vectorization import from_vocabulary, read_text_vectorization
from semserve_export.keras_models.tokenizer_sources import from_library
from semserve_export.keras_models.word_index import WordIndex, read_word_index
from semserve_export.tokenizers.bert_wordpiece import build_tokenizer
from semserve_export.tokenizers.fuzz_texts import odd_texts
from tokenizers import Tokenizer, models

TEXTS = (
    "the cat sat on the mat, didn't it?",
    "İstanbul straße ΣΊΣΥΦΟΣ café Café CAFÉ a i",
    "hello World [UNK] 😀 e-mail 3.14",
)
ODD = (
    *("", " ", "\t\n", "a\x00b", "\x00", "CAT\x0bmat\x0cthe\rsat\x85it\u2028on\u00a0the\u3000mat"),
    *("İSTANBUL Straße STRASSE ẞ ß", "ΣΊΣΥΦΟΣ ΟΔΟΣ' Σ ΣΣ ΑΣ.Α", "👩‍🍳😀", "[UNK] <OOV> [PAD]"),  # noqa: RUF001 - Greek
    *("The CAT!!! (sat) -on- {the} `mat`~ |x| \\ / ^ _ = + * & % $ # @", "don't DON'T didn't"),
    *odd_texts(600, seed=23),
)


def ids_of(source, texts):
    return [encoding.ids for encoding in source.tokenizer.encode_batch_fast(list(texts))]


@pytest.mark.parametrize(
    ("standardize", "split"),
    list(
        product(
            ["lower_and_strip_punctuation", "lower", "strip_punctuation", None],
            ["whitespace", "character", None],
        )
    ),
)
def test_a_text_vectorization_layer_becomes_a_tokenizer_that_reads_as_it_does(standardize, split):
    layer = keras.layers.TextVectorization(standardize=standardize, split=split)
    layer.adapt(TEXTS)
    rows = layer(tf.constant(ODD)).numpy().reshape(len(ODD), -1)
    expected = [np.trim_zeros(row, "b").tolist() for row in rows]
    assert expected == ids_of(read_text_vectorization(layer), ODD)


def test_max_tokens_and_the_output_length_are_kept():
    layer = keras.layers.TextVectorization(max_tokens=5, output_sequence_length=7)
    layer.adapt(TEXTS)
    source = read_text_vectorization(layer)
    assert (7, "post", "post", 5) == (
        source.length,
        source.padding,
        source.truncating,
        source.tokenizer.get_vocab_size(),
    )


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"oov_token": "<OOV>"},
        {"num_words": 6},
        {"num_words": 6, "oov_token": "unknown"},
        {"lower": False},
        {"filters": "t'"},
        {"filters": ""},
        {"char_level": True},
        {"char_level": True, "oov_token": "?"},
    ],
    ids=str,
)
def test_a_word_index_becomes_a_tokenizer_that_reads_as_keras_does(settings):
    keras_tokenizer = KerasTokenizer(**settings)
    keras_tokenizer.fit_on_texts(TEXTS)
    source = WordIndex.of_settings(keras_tokenizer.get_config()).source()
    expected = keras_tokenizer.texts_to_sequences(ODD)
    assert expected == ids_of(source, ODD)
    assert expected == source.read(ODD)


@pytest.mark.parametrize("oov_token", [None, "<OOV>", "[UNK]"])
def test_a_plain_dict_is_read_with_the_defaults_of_keras(oov_token):
    keras_tokenizer = KerasTokenizer(oov_token=oov_token)
    keras_tokenizer.fit_on_texts(TEXTS)
    source = WordIndex.of_mapping(keras_tokenizer.word_index).source()
    assert keras_tokenizer.texts_to_sequences(ODD) == ids_of(source, ODD)


def test_words_past_the_rows_of_the_embedding_are_unknown_as_with_num_words():
    keras_tokenizer = KerasTokenizer(num_words=6, oov_token="<OOV>")  # noqa: S106 - no password
    keras_tokenizer.fit_on_texts(TEXTS)
    source = WordIndex.of_mapping(keras_tokenizer.word_index, rows=6).source()
    assert keras_tokenizer.texts_to_sequences(ODD) == ids_of(source, ODD)


def test_a_word_index_is_read_from_json_as_a_dict_or_as_keras_saved_it(tmp_path):
    keras_tokenizer = KerasTokenizer(num_words=9, lower=False)
    keras_tokenizer.fit_on_texts(TEXTS)
    saved = {"plain": keras_tokenizer.word_index, "saved": json.loads(keras_tokenizer.to_json())}
    saved["twice"] = keras_tokenizer.to_json()
    for name, content in saved.items():
        (tmp_path / name).write_text(json.dumps(content))
    for name in ("saved", "twice"):
        source = read_word_index(tmp_path / name).source()
        assert keras_tokenizer.texts_to_sequences(ODD) == ids_of(source, ODD)
    assert keras_tokenizer.word_index["World"] == read_word_index(tmp_path / "plain").ids["World"]


def test_a_reading_that_differs_from_keras_is_refused_with_the_text():
    layer = keras.layers.TextVectorization(standardize=None)
    layer.adapt(TEXTS)
    other = keras.layers.TextVectorization(standardize="lower", vocabulary=layer.get_vocabulary())
    source = read_text_vectorization(layer)
    wrong = type(source)(
        source.tokenizer, read_text_vectorization(other).read, "the layer", words=source.words
    )
    source.require_agreement()
    with pytest.raises(WeightsError, match=r"tokenizer: the layer reads '.*' as \[.*\], and"):
        wrong.require_agreement()


def test_a_tokenizer_of_the_library_keeps_its_ids_and_tells_its_padding():
    pieces = ["[UNK]", "[CLS]", "[SEP]", "the", "cat", "[PAD]"]
    tokenizer = build_tokenizer(pieces, lowercase=True, strip_accents=True)
    tokenizer.enable_padding(length=9, pad_id=5, direction="left")
    tokenizer.enable_truncation(9)
    source = from_library(tokenizer)
    assert (9, "pre", "post", 5) == (
        source.length,
        source.padding,
        source.truncating,
        source.pad_id,
    )
    assert [[1, 3, 4, 2]] == ids_of(source, ["The cat"])


def test_sequences_are_filled_up_with_the_id_of_the_word_for_padding():
    ids = {"<unk>": 0, "<pad>": 1, "the": 2}
    model = models.WordLevel(ids, unk_token="<unk>")  # noqa: S106 - no password
    without_padding, with_padding = Tokenizer(model), Tokenizer(model)
    with_padding.enable_padding(length=4, pad_id=2)
    sources = (
        WordIndex.of_mapping(ids).source(),
        WordIndex.of_settings({"word_index": ids}).source(),
        from_library(without_padding),
        from_library(with_padding),
        WordIndex.of_mapping({"the": 1}).source(),
    )
    assert [1, 1, 1, 2, 0] == [source.pad_id for source in sources]


def shout(texts):
    return tf.strings.upper(texts)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ngrams": 2}, "with ngrams=2 cannot be exported: a tokenizer.json reads single words"),
        ({"standardize": shout}, "with standardize=shout cannot be exported: a function of your"),
        ({"split": shout}, "with split=shout cannot be exported: a function of your own"),
        (
            {"output_mode": "multi_hot"},
            "with output_mode='multi_hot' cannot be exported: int",
        ),
        ({"output_mode": "tf_idf"}, "with output_mode='tf_idf' cannot be exported"),
        ({"ragged": True}, "with ragged=True cannot be exported: the model must take padded"),
    ],
)
def test_a_layer_that_no_tokenizer_stands_for_is_refused_by_the_setting(settings, message):
    layer = keras.layers.TextVectorization(**settings)
    with pytest.raises(WeightsError) as raised:
        read_text_vectorization(layer)
    assert message in str(raised.value)


def test_a_vocabulary_with_a_word_twice_is_refused():
    with pytest.raises(WeightsError, match=r"Keras refuses the vocabulary: .* repeated terms are"):
        from_vocabulary(["the", "cat", "the"])


class Loud(keras.layers.TextVectorization):
    def call(self, inputs):
        return super().call(shout(inputs))


def test_a_layer_that_may_read_otherwise_is_refused():
    with pytest.raises(WeightsError, match="is a Loud, a class of your own, which may read texts"):
        read_text_vectorization(Loud(vocabulary=["the"], name="loud"))


def test_a_layer_without_a_vocabulary_is_refused():
    with pytest.raises(WeightsError, match=r"has no vocabulary; call adapt\(\) first"):
        read_text_vectorization(keras.layers.TextVectorization())


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ({}, "is empty"),
        ({0: "the", 1: "cat"}, "maps 0 to 'the'; it must map words to ids"),
        ({"the": 1.5}, "maps 'the' to 1.5"),
        ({"the": True}, "maps 'the' to True"),
        ({"the": -1}, "maps 'the' to -1"),
        ({"the": 1, "cat": 1}, "the words 'the' and 'cat' have one id"),
        ({"the": 1, ".": 2}, "has '.', and Keras's Tokenizer removes '.' by default"),
        ({"new york": 1}, "has 'new york', and Keras's Tokenizer removes ' '"),
    ],
)
def test_what_is_no_word_index_of_keras_is_refused_with_the_word(index, message):
    with pytest.raises(WeightsError) as raised:
        WordIndex.of_mapping(index)
    assert message in str(raised.value)
