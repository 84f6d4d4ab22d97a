"""What a word model learns is what its adapter keeps, and what the bundle then says."""

import io
from dataclasses import replace

import numpy as np
import pytest
from parity.test_words import GLOVE, KEPT, LENGTH, exported_words
from rich.console import Console
from semserve_export.bundle.runner import Embedder
from semserve_export.bundle.tolerance import keras_run
from semserve_export.cli.progress import training_progress
from semserve_export.cli.word_commands import measure
from semserve_export.data.scored_pairs import ScoredPairs, WordTexts
from semserve_export.errors import AdapterError, BundleError
from semserve_export.recipes import GLOVE_AVERAGE, SIAMESE_MANHATTAN
from semserve_export.tokenizers.bert_wordpiece import encode, pad
from semserve_export.tokenizers.word_tokenizer import build_word_tokenizer
from semserve_export.word_vectors.correlation import pearson, spearman
from semserve_export.word_vectors.glove import weighted_table, word_table
from semserve_export.word_vectors.word_adapter import apply_word_adapter, save_word_adapter
from semserve_export.word_vectors.word_model import WORDS
from semserve_export.word_vectors.word_plan import WordPlan
from semserve_export.word_vectors.word_training import train_encoder
from semserve_export.word_vectors.words import WordBase, build_encoder

JUDGED = ScoredPairs(
    pairs=[("the cat sat", "a cat"), ("the cat", "the house"), ("a dog", "of it"), ("dog", "dog")],
    scores=[4, 1, 0, 5],
    sha256={"judged.tsv": "0" * 64},
)
UNJUDGED = ScoredPairs([("the cat , a dog", "cat and dog"), ("house", "it is")], [], {})
UNSEEN = len(("[PAD]", "[UNK]", "[END]")) + GLOVE.words.index("'s")
RECIPES = {
    "average": GLOVE_AVERAGE,
    "manhattan": replace(SIAMESE_MANHATTAN, lstm_units=6),
}


def base_of(kind):
    table = (weighted_table if kind == "average" else word_table)(GLOVE, KEPT)
    return WordBase(RECIPES[kind], table, build_word_tokenizer(GLOVE.words[:KEPT]))


def train(base, texts, teacher, output, **changes):
    plan = WordPlan(epochs=20, batch_size=4, learning_rate=0.05, **changes)
    with training_progress(Console(file=io.StringIO())) as progress:
        return train_encoder(base, texts, teacher, plan, output, progress)


def table_after(base, output):
    encoder = build_encoder(base.recipe, base.table)
    apply_word_adapter(output, encoder)
    return encoder.get_layer(WORDS).get_weights()[0]


def test_training_follows_the_scores_and_changes_only_the_words_it_saw(tmp_path):
    base = base_of("average")
    texts = WordTexts(JUDGED, JUDGED, None, None)
    figures = train(base, texts, None, tmp_path)
    assert 1 == pytest.approx(figures["spearman"])
    table = table_after(base, tmp_path)
    assert error_of(base, table) < 0.1 < error_of(base, base.table)
    assert np.abs(table - base.table).max() > 0.1
    np.testing.assert_array_equal(base.table[UNSEEN], table[UNSEEN])


def error_of(base, table):
    """Return how far the scores are from people's, in the mean over the pairs."""
    run = keras_run(build_encoder(base.recipe, table), base.recipe.spec.inputs)
    rows = run(pad(encode(base.tokenizer, JUDGED.texts(), LENGTH)))
    scores = np.sum(rows[::2] * rows[1::2], axis=1)
    return np.abs(scores - np.array(JUDGED.scores) / 5).mean()


def test_an_lstm_learns_from_a_teacher_with_its_words_frozen(tmp_path, tmp_path_factory):
    base = base_of("manhattan")
    bundle = exported_words(tmp_path_factory, "average")
    teacher = Embedder(bundle)
    texts = WordTexts(JUDGED, JUDGED, UNJUDGED, bundle)
    figures = train(base, texts, teacher, tmp_path / "adapter", freeze_words=True)
    assert (6, 0) == (figures["pairs_trained_on"], figures["words_trained"])
    assert figures["spearman"] > 0.7
    np.testing.assert_array_equal(base.table, table_after(base, tmp_path / "adapter"))


def test_the_same_seed_gives_the_same_adapter(tmp_path):
    base, texts = base_of("manhattan"), WordTexts(JUDGED, JUDGED, None, None)
    for name in ("one", "two"):
        train(base, texts, None, tmp_path / name, dropout=0.2)
    one, two = ((tmp_path / n / "adapter.safetensors").read_bytes() for n in ("one", "two"))
    assert one == two


@pytest.mark.parametrize("kind", ["average", "manhattan"])
def test_an_adapter_restores_the_model_and_refuses_another(kind, tmp_path):
    base = base_of(kind)
    trained = build_encoder(base.recipe, base.table)
    random = np.random.default_rng(1)
    trained.set_weights([
        (weight + random.normal(0, 0.1, weight.shape)).astype(np.float32)
        for weight in trained.get_weights()
    ])  # fmt: skip
    save_word_adapter(tmp_path, trained, base.table)
    restored = build_encoder(base.recipe, base.table)
    apply_word_adapter(tmp_path, restored)
    inputs = pad(encode(base.tokenizer, ["the cat sat on a mat", "a dog"], LENGTH))
    expected, rows = (keras_run(m, base.recipe.spec.inputs)(inputs) for m in (trained, restored))
    np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-3)  # the words' change is fp16
    with pytest.raises(AdapterError):
        apply_word_adapter(tmp_path, build_encoder(base.recipe, base.table[:5]))
    (tmp_path / "adapter.safetensors").write_bytes(b"torn")
    with pytest.raises(AdapterError, match="cannot be read"):
        apply_word_adapter(tmp_path, restored)


def test_measure_prints_what_the_bundle_scores(exported):
    if exported.manifest["task"] != "embedding":
        with pytest.raises(BundleError, match="a classifier has no vectors"):
            Embedder(exported.directory)
        return
    printed = io.StringIO()
    measure([exported.directory], JUDGED, "portable", Console(file=printed, width=120))
    scores = Embedder(exported.directory).score(JUDGED.pairs)
    rows = Embedder(exported.directory).embed([text for pair in JUDGED.pairs for text in pair])
    np.testing.assert_allclose(scores, np.sum(rows[::2] * rows[1::2], axis=1), atol=1e-6)
    for figure in (spearman, pearson):
        assert f"{100 * figure(scores, np.array(JUDGED.scores)):.1f}" in printed.getvalue()


def test_equal_values_share_their_rank():
    ranked = spearman(np.array([1.0, 2, 2, 9, 0]), np.array([3.0, 1, 8, 8, 0]))
    assert 14.5 / 19 == pytest.approx(ranked)  # by hand, of 2 3½ 3½ 5 1 and 3 2 4½ 4½ 1
    assert 1 == pytest.approx(spearman(np.array([1.0, 2, 2, 9]), np.array([-1.0, 5, 5, 6])))
    assert np.isnan(pearson(np.ones(3), np.arange(3)))
