"""A model of the user's own: trained from its preset, and exported with what it learnt."""

import numpy as np
import pytest
from parity.families import make_classifier
from rich.console import Console
from rich.progress import Progress
from semserve_export.data.batching import EncodedPairs
from semserve_export.data.pairs import LabelledPair, PairFiles, TrainingData
from semserve_export.errors import WeightsError
from semserve_export.options import ModelOptions
from semserve_export.pipeline.custom_model import load_custom_model
from semserve_export.training.base_model import start_from_preset
from semserve_export.training.classifier_training import train
from semserve_export.training.plan import TrainingPlan
from semserve_export.training.trainer import logits_of

# Keras itself writes a preset in a way of which numpy warns.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

LABELS = ("no", "yes")
PAIRS = [
    LabelledPair(premise, hypothesis, label)
    for label, hypothesis in enumerate(("the boat sat", "hello world"))
    for premise in ("the cat sat", "hello, cat", "a boat", "hello hello hello")
]
DATA = TrainingData(PairFiles(PAIRS * 4, {"a": "1"}), PairFiles(PAIRS, {"b": "2"}))


@pytest.mark.parametrize(("family", "lora"), [("Bert", None), ("Roberta", 2)])
def test_what_was_learnt_on_a_preset_is_exported_with_it(family, lora, tmp_path):
    preset, output = tmp_path / "preset", tmp_path / "adapter"
    make_classifier(family, classes=5).save_to_preset(preset)
    start = start_from_preset(preset, LABELS)
    plan = TrainingPlan(epochs=3, batch_size=8, learning_rate=5e-3, lora=lora)
    record = train(start, DATA, plan, output, "", Progress(console=Console(quiet=True)))

    exported = load_custom_model(ModelOptions(str(preset), name="mine", adapter=output))
    assert LABELS == exported.spec.labels
    assert exported.spec.pair
    pairs = EncodedPairs.of(exported.tokenizer, PAIRS, 40, exported.spec.inputs)
    assert [list(e.token_ids) for e in pairs.encodings] == [
        list(e.token_ids) for e in EncodedPairs.of(start.tokenizer, PAIRS, 40).encodings
    ]
    right = np.mean(logits_of(exported.keras_model, pairs).argmax(axis=1) == pairs.labels)
    assert record["figures"]["accuracy"] == pytest.approx(right)


def test_an_adapter_of_other_weights_is_refused(tmp_path):
    presets = [tmp_path / "one", tmp_path / "two"]
    for preset in presets:
        model = make_classifier("Bert")
        if preset.name == "two":
            model.backbone.token_embedding.embeddings.assign_add(
                np.ones(model.backbone.token_embedding.embeddings.shape, np.float32)
            )
        model.save_to_preset(preset)
    start = start_from_preset(presets[0], LABELS)
    output = tmp_path / "adapter"
    plan = TrainingPlan(epochs=0)
    train(start, DATA, plan, output, "", Progress(console=Console(quiet=True)))
    with pytest.raises(WeightsError, match="was trained on other weights"):
        load_custom_model(ModelOptions(str(presets[1]), adapter=output))
