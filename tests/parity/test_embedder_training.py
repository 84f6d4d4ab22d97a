"""An embedder that was trained here is exported, and the server compares as Keras does."""

import numpy as np
import pytest
from keras import ops
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


def train(preset, output, **more):
    plan = EmbedderPlan(epochs=4, batch_size=4, learning_rate=3e-3, **more)
    quiet = Progress(console=Console(quiet=True))
    return train_embedder(str(preset), SCORED, SCORED, plan, output, quiet)


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


def test_a_directory_with_something_in_it_is_not_written_into(tmp_path):
    (tmp_path / "mine").write_text("weights")
    with pytest.raises(ExportError, match="is not empty; --fresh replaces what is in it"):
        training_app.train_embedder(
            "bert_tiny_en_uncased", train=(), validation=(), output=tmp_path
        )
