"""Training: every pair once an epoch, in batches of like length, the same way each time."""

import gzip
import hashlib
import json

import numpy as np
import pytest
from rich.console import Console
from semserve_export.adapter import TENSORS, apply_adapter
from semserve_export.bert import freeze_embeddings, make_classifier
from semserve_export.errors import ExportError
from semserve_export.pair_batches import EncodedPairs
from semserve_export.pairs import LabelledPair, read_pairs
from semserve_export.progress import training_progress
from semserve_export.tokenizer import Encoding, build_tokenizer
from semserve_export.train import WarmupThenLinear, fine_tune, measure_accuracy, seed_everything
from semserve_export.training_plan import TrainingPlan

LABELS = ("entailment", "neutral", "contradiction")
PLAN = TrainingPlan(epochs=24, batch_size=8, learning_rate=5e-3, dropout=0, max_tokens=16)


@pytest.fixture(scope="module")
def toy(vocabulary):
    """Pairs whose label is told by the hypothesis: as hard as two layers of 16 can bear."""
    tokenizer = build_tokenizer(vocabulary, lowercase=True, strip_accents=True)
    premises = ("the cat", "the mat sat", "hello world the cat sat", "a b c d e f")
    pairs = [
        LabelledPair(premise, hypothesis, label)
        for label, hypothesis in enumerate(("the cat", "hello !", "sat ."))
        for premise in premises
    ]
    return EncodedPairs.of(tokenizer, pairs * 4, PLAN.max_tokens)


@pytest.fixture(scope="module")
def train_toy(toy, make_backbone, tmp_path_factory):
    def train():
        seed_everything(PLAN.seed)
        backbone = make_backbone()
        freeze_embeddings(backbone)
        output = tmp_path_factory.mktemp("adapter")
        with training_progress(Console(quiet=True)) as progress:
            figures = fine_tune(make_classifier(backbone, 3), PLAN, toy, toy, output, progress)
        return figures, output

    return train


@pytest.fixture(scope="module")
def trained(train_toy):
    return train_toy()


def test_training_learns(trained):
    figures, _ = trained
    assert figures["accuracy"] > 0.9
    assert PLAN.epochs == len(figures["accuracy_by_epoch"])


def test_what_is_reported_was_measured_on_the_adapter_read_back(trained, toy, make_backbone):
    figures, output = trained
    backbone = make_backbone()
    freeze_embeddings(backbone)
    model = make_classifier(backbone, 3)
    apply_adapter(output, model)
    model.compile(jit_compile=False)
    assert figures["accuracy"] == measure_accuracy(model, toy)


def test_results_are_written_as_they_come(trained):
    figures, output = trained
    lines = [json.loads(line) for line in (output / "results.jsonl").read_text().splitlines()]
    assert PLAN.epochs == len([line for line in lines if "validation_accuracy" in line])
    assert PLAN.epochs == len([line for line in lines if "loss" in line])
    assert figures == {name: lines[-1][name] for name in figures}


def test_the_same_plan_gives_the_same_adapter(trained, train_toy):
    _, one = trained
    _, two = train_toy()
    assert (one / TENSORS).read_bytes() == (two / TENSORS).read_bytes()


def test_an_epoch_has_every_row_once_in_batches_of_like_length():
    random = np.random.default_rng(1)
    lengths = random.integers(3, 90, 1003)
    rows = EncodedPairs([Encoding([0] * n, [0] * n) for n in lengths], np.zeros(1003, int), 96)
    batches = rows.shuffled(32, random)
    assert list(range(1003)) == sorted(np.concatenate(batches).tolist())
    assert {32, 1003 % 32} == {len(batch) for batch in batches}
    spread = np.mean([np.ptp(lengths[batch]) for batch in batches])
    assert spread < 10, "a random batch of these would spread over more than 80"


def test_columns_are_few_different_numbers():
    rows = EncodedPairs([Encoding([5] * n, [0] * n) for n in (3, 17)], np.zeros(2, int), 96)
    assert (1, 16) == rows.inputs(np.array([0]))["token_ids"].shape
    assert (2, 32) == rows.inputs(np.array([0, 1]))["token_ids"].shape


def test_the_rate_rises_then_falls_to_nothing():
    rate = WarmupThenLinear(peak=1.0, warmup=10, steps=110)
    rates = [float(rate(step)) for step in (0, 9, 10, 60, 110)]
    np.testing.assert_allclose(rates, [0.1, 1, 1, 0.5, 0], atol=1e-6)


def test_files_are_read_plain_or_gzipped_with_quotes_as_text(tmp_path):
    content = 'label\tpremise\thypothesis\nneutral\t"A cat\tHe said "no".\n'
    (tmp_path / "plain.tsv").write_text(content)
    (tmp_path / "packed.tsv.gz").write_bytes(gzip.compress(content.encode()))
    expected = LabelledPair('"A cat', 'He said "no".', 1)
    read = read_pairs(sorted(tmp_path.iterdir()), LABELS)
    assert [expected] * 2 == read.pairs
    digest = hashlib.sha256(content.encode()).hexdigest()
    assert ["packed.tsv.gz", "plain.tsv"] == list(read.sha256)
    assert digest == read.sha256["plain.tsv"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("premise\tlabel\n", "the header lacks hypothesis"),
        ("premise\thypothesis\tlabel\na\tb\tmaybe\n", "line 2: label 'maybe' is none of"),
        ("", "the header lacks"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, content, message):
    path = tmp_path / "pairs.tsv"
    path.write_text(content)
    with pytest.raises(ExportError, match=message):
        read_pairs([path], LABELS)
    with pytest.raises(ExportError, match="no such file"):
        read_pairs([tmp_path / "none.tsv"], LABELS)
