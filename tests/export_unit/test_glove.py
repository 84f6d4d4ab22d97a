"""Public word vectors become the table of a tokenizer's ids."""

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from semserve_export.data.scored_pairs import read_scored_pairs
from semserve_export.errors import ExportError, WeightsError
from semserve_export.tokenizers.word_tokenizer import END, PADDING, SPECIAL, UNKNOWN
from semserve_export.word_vectors.glove import Glove, weighted_table, word_table

WORDS = ("the", "of", "cat", "dog", "aardvark")
VECTORS = np.random.default_rng(2).normal(1, 1, (len(WORDS), 4)).astype(np.float32)
GLOVE = Glove(WORDS, VECTORS)


def write(directory, vectors):
    parquet.write_table(pa.table({"index": WORDS}), directory / "glove_6B_index.parquet")
    np.save(directory / "glove_6B_50d_emb.npy", vectors)


def test_words_and_vectors_are_read_together(tmp_path):
    write(tmp_path, VECTORS)
    read = Glove.read(tmp_path)
    assert WORDS == read.words
    np.testing.assert_array_equal(VECTORS, read.vectors)


@pytest.mark.parametrize("vectors", [VECTORS[:3], VECTORS.astype(np.float64), np.array(["a"] * 5)])
def test_vectors_that_are_not_those_of_the_words_are_refused(tmp_path, vectors):
    write(tmp_path, vectors)
    with pytest.raises(WeightsError, match="5 words, but vectors"):
        Glove.read(tmp_path)
    (tmp_path / "glove_6B_index.parquet").write_bytes(b"torn")
    with pytest.raises(WeightsError, match="cannot be read as GloVe"):
        Glove.read(tmp_path)


def test_the_unknown_word_is_the_mean_of_those_left_out():
    table = word_table(GLOVE, 3)
    np.testing.assert_allclose(table[SPECIAL.index(UNKNOWN)], VECTORS[3:].mean(axis=0))
    np.testing.assert_array_equal(VECTORS[:3], table[len(SPECIAL) :])
    for blank in (PADDING, END):
        assert not table[SPECIAL.index(blank)].any()


def test_for_averages_frequent_words_weigh_less_and_what_all_share_is_gone():
    table = weighted_table(GLOVE, 4)
    rows = table[len(SPECIAL) :]
    centred = VECTORS - VECTORS.mean(axis=0)
    direction = np.linalg.svd(centred, full_matrices=False)[2][0]
    rest = (centred - np.outer(centred @ direction, direction))[:4]
    np.testing.assert_allclose(rows @ direction, 0, atol=1e-5)
    weights = np.linalg.norm(rows, axis=1) / np.linalg.norm(rest, axis=1)
    assert sorted(weights) == list(weights)
    assert 0 < weights[0] < weights[-1] < 1
    assert not table[SPECIAL.index(END)].any()


def test_pairs_are_read_with_their_scores(tmp_path):
    scored = tmp_path / "scored.tsv"
    scored.write_text("sentence1\tsentence2\tscore\n1\t2\t3\na\tb\t4.5\n")
    read = read_scored_pairs([scored])
    assert ([("1", "2"), ("a", "b")], [3, 4.5]) == (read.pairs, read.scores)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("sentence1\tsentence2\na\tb\n", "the header lacks score"),
        ("sentence1\tsentence2\tscore\na\tb\tmuch\n", "pair 1: 'much' is no score"),
        ("sentence1\tsentence2\tscore\na\t\t1\n", "pair 1: sentence2 is empty"),
        ("sentence1\tsentence2\tscore\n", "there are no pairs"),
    ],
)
def test_a_file_of_pairs_that_cannot_be_used_is_named(tmp_path, content, message):
    path = tmp_path / "pairs.tsv"
    path.write_text(content)
    with pytest.raises(ExportError, match=message):
        read_scored_pairs([path])
