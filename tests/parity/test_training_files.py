"""What `train` reads and where it writes: single texts, .keras files, a test set, checkpoints."""

import io
import math
from dataclasses import replace

import pytest
from parity.families import make_classifier
from rich.console import Console
from semserve_export.cli.training_app import train
from semserve_export.cli.training_commands import train_classifier
from semserve_export.data.batching import EncodedPairs
from semserve_export.data.pairs import LabelledPair
from semserve_export.errors import ExportError
from semserve_export.models.delta_adapter import read_record
from semserve_export.options import ModelOptions
from semserve_export.pipeline.custom_model import load_custom_model
from semserve_export.training.files import TrainingFiles
from semserve_export.training.plan import TrainingPlan
from semserve_export.training.trainer import measure_accuracy

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

LABELS = ("no", "yes")
ROWS = [
    *((f"{start} boat sat", "no") for start in ("the", "a", "hello", "world", "1 2 3")),
    *((f"{start} hello", "yes") for start in ("cat", "sat", "the cat", "b", "c d")),
]
PLAN = TrainingPlan(epochs=2, batch_size=8, learning_rate=5e-3)


@pytest.fixture
def texts(tmp_path):
    """Single texts in two files: names of labels in one, numbers and rows without any in one."""
    train_on, held_out = tmp_path / "train.tsv", tmp_path / "held-out.tsv"
    train_on.write_text("text\tlabel\n" + "".join(f"{t}\t{n}\n" for t, n in ROWS * 3))
    numbers = "".join(f"{t}\t{int(n == 'yes')}\n" for t, n in ROWS)
    held_out.write_text(f"sentence\tgold_label\n{numbers}a\t-\nb\t-1\n")
    return train_on, held_out


@pytest.fixture
def files(texts, tmp_path):
    return TrainingFiles(
        train=texts[:1],
        validation=texts[1:],
        test=texts[1:],
        output=tmp_path / "adapter",
        answers=tmp_path / "answers",
    )


def test_a_keras_file_is_trained_on_single_texts_and_exported_with_what_it_learnt(files, tmp_path):
    path = tmp_path / "mine.keras"
    make_classifier("Bert", classes=2).save(path)
    console = Console(record=True, width=200, quiet=False, file=io.StringIO())
    data = files.read(LABELS)
    train_classifier(str(path), LABELS, data, files, PLAN, tmp_path, console)
    said = console.export_text()
    assert "held-out.tsv: dropped 2 rows without a label (-1 or -)" in said
    assert "--validation: 10 of 10 pairs are in --train too: figures flatter" in said
    assert "--test: 10 of 10 pairs are in --validation too: figures flatter" in said
    assert "the CPU: TensorFlow sees no GPU" in said

    record = read_record(files.output)
    test = record["figures"]["test"]
    assert (10, record["figures"]["accuracy"]) == (test["pairs"], test["accuracy"])
    assert {"held-out.tsv": 2} == record["rows_without_label"]
    assert "which chose nothing" in (files.output / "report.md").read_text()

    exported = load_custom_model(ModelOptions(str(path), name="mine", adapter=files.output))
    assert not exported.spec.pair
    pairs = [LabelledPair(text, "", int(label == "yes")) for text, label in ROWS]
    encoded = EncodedPairs.of(exported.tokenizer, pairs, 40, exported.spec.inputs)
    assert test["accuracy"] == pytest.approx(measure_accuracy(exported.keras_model, encoded))

    with pytest.raises(ExportError, match="was trained on single texts"):
        load_custom_model(ModelOptions(str(path), name="mine", adapter=files.output, pair=True))


@pytest.mark.parametrize(
    ("there", "flags", "message"),
    [
        ("checkpoint.safetensors", {}, "a training that was cut off; --resume goes on"),
        ("adapter.safetensors", {}, "holds adapter.safetensors; --fresh replaces it"),
        ("adapter.safetensors", {"resume": True}, "holds adapter.safetensors; --fresh replaces it"),
        ("adapter.safetensors", {"resume": True, "fresh": True}, "--fresh starts again: pass one"),
    ],
)
def test_what_a_training_left_is_replaced_only_where_a_flag_says_so(files, there, flags, message):
    files.output.mkdir()
    (files.output / there).write_bytes(b"weights")
    with pytest.raises(ExportError, match=message):
        train("nli-minilm", files=replace(files, **flags))
    assert b"weights" == (files.output / there).read_bytes()


def test_a_recipe_for_pairs_refuses_single_texts(files):
    held_out = replace(files, train=files.validation)  # its labels are numbers
    with pytest.raises(ExportError, match="nli-minilm takes pairs, and the files hold single"):
        train("nli-minilm", files=held_out)


def test_a_recipe_has_its_own_labels_and_none_is_given_twice(files):
    with pytest.raises(ExportError, match="--label: nli-minilm has its own labels"):
        train("nli-minilm", files=files, label=("a", "b"))
    with pytest.raises(ExportError, match="--label: 'no' is given twice"):
        files.read(("no", "no"))


def test_one_label_alone_is_nothing_to_learn(files):
    path = files.train[0]
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:5]))
    with pytest.raises(ExportError, match="--train: every label is 'no'; a classifier learns from"):
        files.read(LABELS)


def test_held_out_premises_may_leave_nothing_to_learn_from(files):
    same = replace(files, validation=files.train, hold_out_premises=True)
    with pytest.raises(ExportError, match="--hold-out-premises leaves no pair of --train"):
        same.read(LABELS)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("epochs", -1, "--epochs: -1 is not between 0 and 10,000"),
        ("batch_size", 0, "--batch-size: 0 is not between 1 and 65,536"),
        ("learning_rate", math.nan, "--learning-rate: nan is not between 0 and 10"),
        ("patience", 0, "--patience: 0 is not between 1 and 10,000"),
    ],
)
def test_a_number_outside_its_bounds_is_refused_by_its_flag(files, field, value, message):
    with pytest.raises(ExportError, match=message):
        train("nli-minilm", files=files, plan=replace(PLAN, **{field: value}))


@pytest.mark.parametrize("given", [{"teacher_weight": 0.9}, {"teacher_variant": "int8"}])
def test_a_flag_of_teachers_is_refused_without_teachers(files, given):
    flag = f"--{next(iter(given)).replace('_', '-')} needs --teachers"
    with pytest.raises(ExportError, match=flag):
        train("nli-minilm", files=files, plan=replace(PLAN, **given))


def test_single_texts_to_learn_from_and_pairs_to_measure_on_are_refused(files, tmp_path):
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("premise\thypothesis\tlabel\na\tb\tno\n")
    with pytest.raises(ExportError, match="--test holds pairs, and --train single texts"):
        replace(files, test=(pairs,)).read(LABELS)
