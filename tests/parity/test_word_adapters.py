"""An adapter turns public word vectors into the trained ones; `evaluate` measures an embedder."""

import io

import numpy as np
import pytest
from parity.test_words import GLOVE, KEPT
from rich.console import Console
from safetensors.numpy import save_file
from semserve_export.bundle.runner import Embedder
from semserve_export.cli.evaluation_commands import measure_embedders
from semserve_export.data.scored_pairs import ScoredPairs
from semserve_export.errors import AdapterError, BundleError
from semserve_export.training.metrics import pearson, spearman
from semserve_export.word_vectors.glove import word_table
from semserve_export.word_vectors.word_model import average_encoder, lstm_encoder
from semserve_export.word_vectors.words import CHANGE, ROWS, apply_word_adapter

JUDGED = ScoredPairs(
    pairs=[("the cat sat", "a cat"), ("the cat", "the house"), ("a dog", "of it"), ("dog", "dog")],
    scores=[4, 1, 0, 5],
    sha256={"judged.tsv": "0" * 64},
)
TABLE = word_table(GLOVE, KEPT)
BUILD = {
    "average": average_encoder,
    "lstm": lambda table: lstm_encoder(table, 6, normalize=False),
}


@pytest.mark.parametrize("kind", BUILD)
def test_an_adapter_gives_the_trained_model_and_refuses_another(kind, tmp_path):
    trained, random = BUILD[kind](TABLE), np.random.default_rng(1)
    change = np.float16(random.normal(0, 0.1, (2, TABLE.shape[1])))
    others = {
        variable.path: np.float32(random.normal(0, 0.5, variable.shape))
        for variable in trained.trainable_variables[1:]
    }
    rows = np.array([3, 7], np.int32)
    save_file({ROWS: rows, CHANGE: change, **others}, tmp_path / "adapter.safetensors")
    changed = TABLE.copy()
    changed[rows] += change
    trained.set_weights([changed, *others.values()])
    restored = BUILD[kind](TABLE)
    apply_word_adapter(tmp_path, restored)
    ids = np.array([[3, 7, 5, 2], [4, 2, 0, 0]], np.int32)
    np.testing.assert_array_equal(*(model.predict(ids, verbose=0) for model in (trained, restored)))
    with pytest.raises(AdapterError):
        apply_word_adapter(tmp_path, BUILD[kind](TABLE[:5]))
    (tmp_path / "adapter.safetensors").write_bytes(b"torn")
    with pytest.raises(AdapterError, match="cannot be read"):
        apply_word_adapter(tmp_path, restored)


def test_measure_prints_what_the_bundle_scores(exported):
    if exported.manifest["task"] != "embedding":
        with pytest.raises(BundleError, match="a classifier has no vectors"):
            Embedder(exported.directory)
        return
    printed = io.StringIO()
    measure_embedders([exported.directory], JUDGED, "portable", Console(file=printed, width=120))
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
