"""An embedder that was trained here is exported, and the server compares as Keras does."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from keras import ops
from parity.cut_off import CutOff, Cutting
from parity.families import make_classifier
from parity.serving import Stubs, serving
from rich.console import Console
from rich.progress import Progress
from semserve_export.cli import training_app
from semserve_export.data.scored_pairs import ScoredPairs
from semserve_export.embedder_training.embedder_plan import EmbedderPlan
from semserve_export.embedder_training.embedder_training import train_embedder
from semserve_export.embedder_training.similarity_losses import LOSSES
from semserve_export.errors import ExportError
from semserve_export.models.preset import Preset
from semserve_export.options import ModelOptions
from semserve_export.pipeline.custom_model import load_custom_model
from semserve_export.pipeline.export import export_model

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
SIDES = (
    ("the cat sat", "a cat"),
    ("hello world", "hello"),
    ("the boat", "a boat sat"),
    ("1 2", "3"),
)
PAIRS = [*((a, b) for a, b in SIDES), *((SIDES[i][0], SIDES[i - 1][1]) for i in range(4))]
SCORED = ScoredPairs(PAIRS, [1.0] * 4 + [0.0] * 4, {"pairs": "1"})


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    directory = tmp_path_factory.mktemp("start") / "preset"
    model = make_classifier("Bert")
    for variable in model.backbone.weights:  # smaller: exp(-L1) of large vectors is 0
        if variable.path.startswith("pooled"):
            variable.assign(variable * 0.1)
    model.save_to_preset(directory)
    return directory


PLAN = EmbedderPlan(epochs=4, batch_size=4, learning_rate=3e-3)
QUIET = Progress(console=Console(quiet=True))


def train(preset, output, progress=QUIET, *, resume=False, **more):
    plan = replace(PLAN, **more)
    return train_embedder(str(preset), SCORED, SCORED, plan, output, progress, resume=resume)


def test_a_siamese_bert_of_exp_minus_l1_is_trained_exported_and_compared_as_in_keras(
    preset, tmp_path
):
    figures = train(preset, tmp_path / "trained", objective="manhattan", pooling="pooled")
    assert max(figures["spearman_by_epoch"]) > figures["spearman_by_epoch"][0]

    asked = ModelOptions(
        str(tmp_path / "trained"), name="siamese", task="embedding",
        pooling="pooled", normalize=False, metric="manhattan",
    )  # fmt: skip
    loaded = load_custom_model(asked)
    export_model(loaded, tmp_path / "models" / "siamese", lambda _: None)

    keras = Preset.read(str(tmp_path / "trained"))
    packer = keras.family.classifier.preprocessor_cls(keras.load_tokenizer(), sequence_length=40)
    backbone = keras.family.backbone.from_preset(keras.handle)
    left, right = (
        np.asarray(backbone(packer([pair[side] for pair in PAIRS]))["pooled_output"])
        for side in (0, 1)
    )
    expected = np.exp(-np.abs(left - right).sum(axis=1))
    with serving(tmp_path / "models") as address, Stubs(address) as server:
        np.testing.assert_allclose(server.compare(PAIRS, "siamese"), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("objective", ["cosine", "ranking"])
def test_like_texts_come_nearer_and_the_best_epoch_is_kept(preset, tmp_path, objective):
    figures = train(preset, tmp_path / "trained", objective=objective)
    by_epoch = figures["spearman_by_epoch"]
    assert by_epoch.index(max(by_epoch)) == figures["kept_epoch"] > 0
    model = Preset.read(str(tmp_path / "trained"))
    assert 16 == model.load_embedder(model.activation, "mean", normalize=True).output_shape[-1]


def test_ranking_is_the_cross_entropy_of_the_partner_among_all_texts():
    left = np.array([[1, 0], [0, 2]], np.float32)
    right = np.array([[3, 0], [1, 1]], np.float32)
    cosines = 20 * np.array([[1, 0.5**0.5], [0, 0.5**0.5]])
    loss = ops.convert_to_numpy(LOSSES["ranking"](left, right, 0))
    expected = np.mean(np.log(np.exp(cosines).sum(axis=1)) - cosines.diagonal())
    assert expected == pytest.approx(float(loss), rel=1e-5)


def test_a_training_that_was_cut_off_ends_with_the_same_weights(preset, tmp_path, monkeypatch):
    """An epoch has four steps: it is cut off in the second epoch, after a checkpoint in it."""
    monkeypatch.setattr("semserve_export.training.checkpoint.STEPS_BETWEEN_CHECKPOINTS", 2)
    whole, cut, plan = tmp_path / "whole", tmp_path / "cut", {"batch_size": 2, "epochs": 2}
    expected = train(preset, whole, **plan)
    with pytest.raises(CutOff):
        train(preset, tmp_path / "first", Cutting(tmp_path / "first", {7: cut}), **plan)
    with pytest.raises(ExportError, match=r"another training: plan was .*--fresh begins again"):
        train(preset, cut, resume=True, batch_size=3)
    assert expected == train(preset, cut, resume=True, **plan)
    assert weights_of(whole) == weights_of(cut)
    assert sorted(path.name for path in whole.iterdir()) == sorted(
        path.name for path in cut.iterdir()
    )


def weights_of(directory):
    model = Preset.read(str(directory)).load_embedder("tanh", "mean", normalize=False)
    return [weights.tolist() for weights in model.get_weights()]


def test_a_preset_that_was_there_leaves_nothing_in_the_new_one(preset, tmp_path):
    shutil.copytree(preset, tmp_path / "again")
    assert (tmp_path / "again/task.json").exists()
    train(preset, tmp_path / "again", epochs=0)
    assert "embedding" == Preset.read(str(tmp_path / "again")).task


def test_scores_above_the_largest_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(training_app, "read_models", lambda *_, **__: None)
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("sentence1\tsentence2\tscore\na\tb\t4.5\nc\td\t1\n")
    with pytest.raises(ExportError, match=r"a score is 4\.5, and --score-max is 1; say"):
        training_app.train_embedder(
            "bert_tiny_en_uncased", train=(pairs,), validation=(pairs,), output=tmp_path / "out"
        )


def test_more_tokens_than_the_model_takes_are_refused(preset, tmp_path):
    with pytest.raises(ExportError, match="--max-tokens 400: the model takes at most 40"):
        train(preset, tmp_path / "out", max_tokens=400)


def test_the_largest_score_is_refused_for_an_objective_without_scores(tmp_path):
    plan = EmbedderPlan(objective="ranking", score_max=5)
    with pytest.raises(ExportError, match="--score-max: ranking uses no scores for training"):
        training_app.train_embedder(
            "bert_tiny_en_uncased", train=(), validation=(), output=tmp_path, plan=plan
        )


@pytest.mark.parametrize(
    ("there", "flags", "message"),
    [
        ("mine", {}, "holds mine; --fresh replaces it"),
        ("mine", {"resume": True}, "holds mine; --fresh replaces it"),
        ("checkpoint.safetensors", {}, "was cut off; --resume goes on with it"),
        ("checkpoint.safetensors", {"resume": True, "fresh": True}, "starts again: pass one"),
    ],
)
def test_what_is_in_the_directory_is_replaced_only_where_a_flag_says_so(
    tmp_path, there, flags, message
):
    (tmp_path / there).write_text("weights")
    with pytest.raises(ExportError, match=message):
        training_app.train_embedder(
            "bert_tiny_en_uncased", train=(), validation=(), output=tmp_path, **flags
        )
    assert "weights" == (tmp_path / there).read_text()
