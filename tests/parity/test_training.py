"""Training: every pair once an epoch, the same way each time, also where it was cut off."""

import json
import shutil
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from parity.cut_off import CutOff, Cutting
from rich.console import Console
from rich.progress import Progress
from safetensors import safe_open
from semserve_export.data.batching import EncodedPairs
from semserve_export.data.pairs import LabelledPair, Pair, PairFiles, TrainingData
from semserve_export.distillation.answer_cache import AnswerCache
from semserve_export.distillation.teacher import Teacher
from semserve_export.distillation.temperature_scaling import softmax
from semserve_export.errors import ExportError
from semserve_export.models.bert import make_classifier
from semserve_export.models.delta_adapter import TENSORS, apply_adapter, read_record
from semserve_export.tokenizers.bert_wordpiece import build_tokenizer
from semserve_export.training.base_model import BaseModel
from semserve_export.training.classifier_training import train
from semserve_export.training.plan import TrainingPlan
from semserve_export.training.trainer import logits_of, measure_accuracy, seed_everything

LABELS = ("entailment", "neutral", "contradiction")
PREMISES = ("the cat", "the mat sat", "hello world the cat sat", "a b c d e f")
HYPOTHESES = ("the cat", "hello !", "sat .")
PLAN = TrainingPlan(epochs=24, batch_size=8, learning_rate=5e-3, dropout=0, max_tokens=16)
SHORT = replace(PLAN, epochs=4, dropout=0.1)


@pytest.fixture(scope="module")
def data():
    """Pairs whose label is told by the hypothesis: as hard as two layers of 16 can bear.

    Two of the held-out ones are labelled wrong, so that nobody should be too sure.
    """
    pairs = [
        LabelledPair(premise, hypothesis, label)
        for label, hypothesis in enumerate(HYPOTHESES)
        for premise in PREMISES
    ]
    wrong = [replace(pair, label=(pair.label + 1) % 3) for pair in pairs[:2]]
    return TrainingData(PairFiles(pairs * 4, {"a": "1"}), PairFiles([*pairs, *wrong], {"b": "2"}))


@pytest.fixture(scope="module")
def start(vocabulary, make_backbone):
    """One layer: each training traces its step anew, which takes most of its time."""

    def make(dropout, _):
        return make_classifier(make_backbone(dropout=dropout, layers=1), 3, dropout=dropout)

    return BaseModel(
        make=make,
        tokenizer=build_tokenizer(vocabulary, lowercase=True, strip_accents=True),
        labels=LABELS,
        max_sequence_length=48,
        facts={"recipe": "toy", "base": "random numbers", "labels": list(LABELS)},
    )


@pytest.fixture(scope="module")
def run(start, data, tmp_path_factory):
    """Train with a plan; gives the record and the directory."""

    def train_with(plan, output=None, progress=None, **options):
        output = output or tmp_path_factory.mktemp("adapter")
        quiet = progress or Progress(console=Console(quiet=True))
        return train(start, data, plan, output, "", quiet, **options), output

    return train_with


@pytest.fixture(scope="module")
def trained(run):
    return run(PLAN)


@pytest.fixture(scope="module")
def short(run):
    return run(SHORT)


def test_training_learns(trained):
    record, output = trained
    assert record["figures"]["accuracy"] == pytest.approx(12 / 14)
    assert PLAN.epochs == len(record["figures"]["accuracy_by_epoch"])
    assert read_record(output) == json.loads(json.dumps(record))


def test_more_tokens_than_the_model_takes_are_refused(run):
    with pytest.raises(ExportError, match="--max-tokens 50: the model takes at most 48"):
        run(replace(PLAN, max_tokens=50))


@pytest.fixture(scope="module")
def read_back(trained, start):
    """The model with the adapter that was written."""
    model = start.make(0, "float32")
    apply_adapter(trained[1], model)
    return model


def test_what_is_reported_was_measured_on_the_adapter_read_back(trained, read_back, start, data):
    validation = EncodedPairs.of(start.tokenizer, data.validation.pairs, PLAN.max_tokens)
    assert trained[0]["figures"]["accuracy"] == measure_accuracy(read_back, validation)


def test_the_temperature_is_in_the_head(read_back, start, data):
    """No temperature but 1 makes the scores of the adapter more honest: it was divided out."""
    validation = EncodedPairs.of(start.tokenizer, data.validation.pairs, PLAN.max_tokens)
    logits, rows = logits_of(read_back, validation), np.arange(len(validation))

    def cross_entropy(temperature):
        return -np.log(softmax(logits / temperature)[rows, validation.labels]).mean()

    assert cross_entropy(1) <= min(cross_entropy(1.05), cross_entropy(1 / 1.05))


def test_results_are_written_as_they_come(trained):
    record, output = trained
    lines = [json.loads(line) for line in (output / "results.jsonl").read_text().splitlines()]
    measured = [line["validation_accuracy"] for line in lines if "validation_accuracy" in line]
    assert list(record["figures"]["accuracy_by_epoch"]) == measured
    assert PLAN.epochs == len([line for line in lines if "loss" in line])


def test_the_report_tells_the_figures_and_shows_its_pictures(trained):
    record, output = trained
    page = (output / "report.md").read_text()
    assert f"**Accuracy {record['figures']['accuracy']:.4f}**" in page
    for picture in ("confusion.png", "reliability.png", "curve.png"):
        assert f"({picture})" in page
        assert (output / picture).read_bytes().startswith(b"\x89PNG")


@contextmanager
def often():
    """Write a checkpoint every two steps, and a report every step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("semserve_export.training.checkpoint.STEPS_BETWEEN_CHECKPOINTS", 2)
        patch.setattr("semserve_export.training.trainer.STEPS_BETWEEN_REPORTS", 1)
        yield


@pytest.fixture(scope="module")
def cut_off(run, tmp_path_factory):
    """What lies on disk where a training is cut off in a step, by the step.

    An epoch has six steps: cut off before an epoch was measured, and in the middle of one.
    """
    directory = tmp_path_factory.mktemp("cut-off")
    copies = {step: directory / str(step) for step in (12, 15)}
    with often(), pytest.raises(CutOff):
        run(SHORT, directory / "whole", Cutting(directory / "whole", copies))
    return copies


@pytest.mark.parametrize("step", [12, 15])
def test_a_training_that_was_cut_off_goes_on_as_if_it_had_not_been(
    short, run, cut_off, tmp_path, step
):
    shutil.copytree(cut_off[step], tmp_path, dirs_exist_ok=True)
    with often():
        record, _ = run(SHORT, tmp_path, resume=True)
    assert (short[1] / TENSORS).read_bytes() == (tmp_path / TENSORS).read_bytes()
    assert short[0]["figures"]["accuracy_by_epoch"] == record["figures"]["accuracy_by_epoch"]
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert list(range(1, 25)) == [line["step"] for line in lines if "loss" in line]
    assert not (tmp_path / "checkpoint.safetensors").exists()


def test_a_checkpoint_has_what_is_trained_and_not_what_is_frozen(cut_off):
    with safe_open(cut_off[15] / "checkpoint.safetensors", "np") as file:
        shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
    assert [3] in shapes
    assert [48, 16] not in shapes, "positions are frozen, and so need not be kept"


def test_a_checkpoint_of_another_training_is_refused_before_a_model_is_made(
    start, data, cut_off, tmp_path
):
    shutil.copytree(cut_off[15], tmp_path, dirs_exist_ok=True)
    unmade, quiet = replace(start, make=None), Progress(console=Console(quiet=True))

    def resume(plan):
        train(unmade, data, plan, tmp_path, "", quiet, resume=True)

    with pytest.raises(ExportError, match=r"another training: plan was .*--fresh begins again"):
        resume(replace(SHORT, learning_rate=1e-3))
    (tmp_path / "checkpoint.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(ExportError, match="cannot go on from it"):
        resume(SHORT)


def test_patience_stops_and_keeps_the_best_epoch(run):
    record, _ = run(replace(PLAN, patience=2, learning_rate=0.02))
    figures = record["figures"]
    accuracies, kept = figures["accuracy_by_epoch"], figures["kept_epoch"]
    assert len(accuracies) < PLAN.epochs
    assert kept + 2 == len(accuracies)
    assert max(accuracies) == accuracies[kept - 1] > max(accuracies[: kept - 1], default=0)
    assert accuracies[kept - 1] == pytest.approx(figures["accuracy"])


def test_lora_trains_the_head_and_little_else(run, start):
    record, output = run(replace(PLAN, lora=2, learning_rate=0.02))
    assert record["figures"]["accuracy"] > 0.6
    model = start.make(0, "float32")
    before = {variable.path: variable.numpy() for variable in model.weights}
    apply_adapter(output, model)
    changed = {v.path for v in model.weights if not np.array_equal(before[v.path], v.numpy())}
    assert "logits/kernel" in changed
    assert all("query" in name or "value" in name or "logits" in name for name in changed)
    assert any(name.endswith("query/kernel") for name in changed)


def test_a_training_can_begin_from_adapters_and_average_its_weights(run, trained):
    _, first = trained
    plan = replace(SHORT, epochs=1, learning_rate=1e-6, start=(first, first), average=0.5)
    record, _ = run(plan)
    assert trained[0]["figures"]["accuracy"] == record["figures"]["accuracy"]
    assert read_record(first)["plan"] == record["plan"]["start"][0]["plan"]


def test_no_epoch_at_all_is_the_mean_of_adapters(run, trained):
    _, first = trained
    record, output = run(replace(PLAN, epochs=0, start=(first, first)))
    assert trained[0]["figures"]["accuracy"] == record["figures"]["accuracy"]
    assert 1 == pytest.approx(record["figures"]["temperature"], abs=0.01)
    assert "Nothing was trained" in (output / "report.md").read_text()
    assert not (output / "curve.png").exists()


@pytest.mark.parametrize("varied", ["classification"], indirect=True)
def test_a_bundle_can_teach(run, exported):
    """The labels are told to be worth nothing: what is learnt is the teacher's opinion."""
    plan = replace(PLAN, teachers=(exported.directory,), teacher_weight=1.0)
    record, output = run(plan)
    teacher = Teacher.read(exported.directory, LABELS)
    assert [teacher.facts] == record["plan"]["teachers"]
    lines = [json.loads(line) for line in (output / "results.jsonl").read_text().splitlines()]
    agreement = [line["accuracy"] for line in lines if "loss" in line]
    assert agreement[-1] > 0.9
    with pytest.raises(ExportError, match="does not label pairs"):
        Teacher.read(exported.directory, ("yes", "no"))


@pytest.mark.parametrize("varied", ["classification"], indirect=True)
def test_unlabelled_pairs_are_learnt_as_teachers_answer_them(
    start, data, read_back, exported, tmp_path
):
    """The labelled pairs alone do not show these hypotheses, so no label tells about them."""
    new = [Pair(premise, f"{letter} mat") for premise in PREMISES for letter in "ghijklmnop"]
    teacher = Teacher.read(exported.directory, LABELS)
    quiet = Progress(console=Console(quiet=True))
    answers = teacher.answer(new, PLAN.max_tokens, AnswerCache(None), quiet).argmax(axis=1)
    judged = [
        LabelledPair(pair.premise, pair.hypothesis, int(label))
        for pair, label in zip(new, answers, strict=True)
    ]
    encoded = EncodedPairs.of(start.tokenizer, judged, PLAN.max_tokens)
    assert measure_accuracy(read_back, encoded) < 0.8

    unlabelled = PairFiles(new * 3, {"new": "3"})
    taught = replace(data, validation=PairFiles(judged, {}), unlabelled=unlabelled)
    plan = replace(PLAN, teachers=(exported.directory,), teacher_weight=0.0)
    record = train(start, taught, plan, tmp_path / "adapter", "", quiet)
    assert record["figures"]["accuracy"] > 0.8
    assert {"new": "3"} == record["unlabelled_files"]
    assert len(new) * 3 == record["figures"]["unlabelled_pairs"]
    assert "120 that teachers answered, of new" in (tmp_path / "adapter/report.md").read_text()


def test_the_seed_is_that_of_the_head(start):
    heads = []
    for seed in (1, 1, 2):
        seed_everything(seed)
        heads.append(start.make(0, "float32").output_dense.kernel.numpy())
    np.testing.assert_array_equal(heads[0], heads[1])
    assert not np.array_equal(heads[0], heads[2])
