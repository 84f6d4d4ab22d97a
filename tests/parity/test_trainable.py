"""Training a part of a model: the last layers, or small updates of their products."""

from dataclasses import replace

import numpy as np
import pytest
from parity.families import make_classifier
from parity.tiny_mpnet import write_tiny_mpnet
from rich.console import Console
from rich.progress import Progress
from safetensors.numpy import load_file
from semserve_export.data.batching import EncodedPairs
from semserve_export.data.pairs import LabelledPair, PairFiles, TrainingData
from semserve_export.errors import ExportError
from semserve_export.models.delta_adapter import TENSORS, apply_adapter, base_values, tuned_values
from semserve_export.models.loaded_model import load_recipe
from semserve_export.recipes import NLI_MPNET
from semserve_export.training.base_model import start_from_recipe
from semserve_export.training.classifier_training import train
from semserve_export.training.plan import TrainingPlan
from semserve_export.training.trainable import choose_trainable
from semserve_export.training.trainer import logits_of

PREMISES = ("the cat", "the mat sat", "hello world the cat sat", "a b c d e f")
HYPOTHESES = ("the cat", "hello !", "sat .")
PAIRS = [
    LabelledPair(premise, hypothesis, label)
    for label, hypothesis in enumerate(HYPOTHESES)
    for premise in PREMISES
]
DATA = TrainingData(PairFiles(PAIRS * 4, {"a": "1"}), PairFiles(PAIRS, {"b": "2"}))
UPPER = TrainingPlan(
    epochs=3, batch_size=8, learning_rate=5e-3, upper_layers=1, lora=2, lora_products="all"
)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """The recipe of nli-mpnet, on weights of a tiny MPNet."""
    directory = tmp_path_factory.mktemp("tiny-mpnet")
    write_tiny_mpnet(directory)
    return directory, start_from_recipe(NLI_MPNET, directory)


@pytest.fixture(scope="module")
def trained(start, tmp_path_factory):
    return fine_tuned(start, UPPER, tmp_path_factory.mktemp("adapter"))


def fine_tuned(start, plan, output):
    quiet = Progress(console=Console(quiet=True))
    return train(start[1], DATA, plan, output, "", quiet), output


def changed(start, adapter):
    model = start[1].make(0, "float32")
    before = {variable.path: variable.numpy() for variable in model.weights}
    apply_adapter(adapter, model)
    return {v.path for v in model.weights if not np.array_equal(before[v.path], v.numpy())}


def test_updates_of_the_last_layer_change_all_its_products_and_no_other_layer(start, trained):
    names = changed(start, trained[1])
    layers = {name.split("/")[0] for name in names}
    assert {"transformer_layer_1", "pooled_dense", "logits"} == layers
    for product in ("query", "key", "value", "attention_output", "up", "down"):
        assert f"transformer_layer_1/{product}/kernel" in names


def test_after_several_epochs_lora_differs_by_two_factors_of_its_rank_and_is_kept_so(trained):
    """A rank of 3 or more would mean that an epoch's updates were added twice."""
    stored = load_file(trained[1] / TENSORS)
    left = {name: value for name, value in stored.items() if name.endswith(".left")}
    assert 6 == len(left)
    assert {2} == {value.shape[-1] for value in left.values()}
    assert not [name for name in stored if name.endswith(".delta")]


def test_the_exported_recipe_answers_as_was_measured(start, trained):
    directory, _ = start
    record, adapter = trained
    model = load_recipe(replace(NLI_MPNET, adapter=adapter), directory)
    pairs = EncodedPairs.of(model.tokenizer, PAIRS, 96, model.spec.inputs)
    right = np.mean(logits_of(model.keras_model, pairs).argmax(axis=1) == pairs.labels)
    assert record["figures"]["accuracy"] == pytest.approx(right)


def test_what_goes_on_from_factors_keeps_factors(start, trained, tmp_path):
    again, output = fine_tuned(start, TrainingPlan(epochs=0, start=(trained[1],)), tmp_path)
    assert trained[0]["figures"]["accuracy"] == again["figures"]["accuracy"]
    stored = load_file(output / TENSORS)
    # In fp16 a second factor that matters little may be lost in the first one's rounding.
    assert {1, 2} == {value.shape[-1] for name, value in stored.items() if ".left" in name}
    assert not [name for name in stored if name.startswith("transformer_layer_1") and ".d" in name]


def test_updates_are_merged_in_fp32_whatever_the_training_computes_in(start):
    model = start[1].make(0, "mixed_bfloat16")
    base = base_values(model)
    choose_trainable(model, UPPER)
    query = model.backbone.transformer_layers[-1].query
    down, up = np.full((16, 2), 0.001, np.float32), np.full((2, 16), 0.001, np.float32)
    query.lora_kernel_a.assign(down)
    query.lora_kernel_b.assign(up)
    name = "transformer_layer_1/query/kernel"
    np.testing.assert_allclose(tuned_values(model)[name], base[name] + down @ up, rtol=0, atol=1e-7)


def test_the_last_layers_can_be_trained_whole(start):
    model = start[1].make(0, "float32")
    choose_trainable(model, TrainingPlan(upper_layers=1))
    names = {variable.path for variable in model.trainable_variables}
    assert "transformer_layer_1/up/kernel" in names
    assert {"transformer_layer_1", "pooled_dense", "logits"} == {n.split("/")[0] for n in names}


@pytest.mark.parametrize(
    ("family", "plan", "reason"),
    [
        ("Bert", {"upper_layers": 3}, "--upper-layers 3: the model has 2 layers"),
        ("Bert", {"upper_layers": 0}, "--upper-layers 0: the model has 2 layers"),
        ("Albert", {"upper_layers": 1}, "layers each have weights of their own"),
        ("Bert", {"lora_products": "all"}, "--lora-products all needs --lora"),
        ("Bert", {"train_embeddings": True, "lora": 2}, "--train-embeddings: --lora freezes"),
        (
            "Bert",
            {"train_embeddings": True, "upper_layers": 1},
            "--train-embeddings: --upper-layers freezes",
        ),
    ],
)
def test_a_part_that_is_not_there_or_contradicts_itself_is_refused(family, plan, reason):
    with pytest.raises(ExportError, match=reason):
        choose_trainable(make_classifier(family, layers=2), TrainingPlan(**plan))


@pytest.mark.parametrize("family", ["Bert", "Roberta", "DistilBert"])
def test_updates_of_all_products_reach_every_layer_of_other_families(family):
    model = make_classifier(family, layers=2)
    choose_trainable(model, TrainingPlan(lora=2, lora_products="all"))
    updated = [v.path for v in model.trainable_variables if "lora_kernel_a" in v.path]
    assert 2 * 6 == len(updated)
    assert not [v.path for v in model.trainable_variables if "embedding" in v.path]
