"""Which text of a pair comes first: stated or assumed, kept in the bundle, and served."""

from pathlib import Path

import numpy as np
import pytest
from parity.families import LENGTH, make_classifier
from parity.serving import serving
from rich.progress import Progress
from semserve import Client
from semserve_export import export
from semserve_export.bundle.layout import read_json
from semserve_export.cli.app import run_command_line
from semserve_export.data.pairs import Pair
from semserve_export.distillation.answer_cache import AnswerCache
from semserve_export.distillation.teacher import Teacher
from semserve_export.errors import ExportError
from semserve_export.options import ModelOptions, options_of_bundle
from semserve_export.pipeline import custom_model
from semserve_export.pipeline.loading import load_from_options
from semserve_export.report import Fact

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
LABELS = ("no", "maybe", "yes")
PAIRS = [
    ("the cat sat", "the boat"),
    ("Hello, world!", "the cat sat on a boat, 今日 hello"),
    ("the boat " * 30, "the cat"),
    ("the cat", "the boat " * 30),
]
"""Short, and so long that one text is cut."""
FIRST = ("hypothesis", "premise")


@pytest.fixture(autouse=True)
def few_texts(monkeypatch):
    """Compare tokenizers on few texts; `test_tokenizer_parity` does it on many."""
    monkeypatch.setattr(custom_model, "COMPARED_TEXTS", 50)


def test_a_classifier_trained_hypothesis_first_is_served_as_keras_predicts(
    tmp_path, monkeypatch, capfd
):
    monkeypatch.chdir(tmp_path)
    classifier = make_classifier("Bert")
    premises, hypotheses = (list(texts) for texts in zip(*PAIRS, strict=True))
    expected = classifier.predict((hypotheses, premises), verbose=0)
    swapped = classifier.predict((premises, hypotheses), verbose=0)
    assert np.abs(expected - swapped).max() > 0.01, "the order matters to this model"
    classifier.save(tmp_path / "mine.keras")
    said = ["--pair-order", "hypothesis-premise", *(f"--label={label}" for label in LABELS)]
    assert 0 == run_command_line(["keras", "mine.keras", "--pair", "--variants", "fused", *said])
    told = " ".join(capfd.readouterr().out.split())
    assert "hypothesis, premise" in told
    assert "odd texts are tokenised otherwise" in told
    assert list(FIRST) == read_json(Path("models/mine/bundle.json"))["text_order"]
    with serving(tmp_path / "models") as address, Client(address) as client:
        alone = [client.classify([pair]).logits[0] for pair in PAIRS]
        together = client.classify(PAIRS).logits
    np.testing.assert_allclose(alone, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(together, expected, rtol=0, atol=1e-5)
    teacher = Teacher.read(Path("models/mine"), LABELS)
    with Progress() as progress:
        pairs = [Pair(*pair) for pair in PAIRS]
        taught = teacher.answer(pairs, LENGTH, AnswerCache(tmp_path / "answers"), progress)
    np.testing.assert_allclose(taught, expected, rtol=0, atol=1e-5)
    options = options_of_bundle("mine.keras", read_json(Path("models/mine/bundle.json")))
    assert (FIRST, True) == (options.text_order, options.takes_pairs), "what `verify` asks for"


def test_what_nobody_says_is_told_in_the_report_and_in_one_line():
    classifier = make_classifier("DistilBert")
    model = load_from_options(ModelOptions("", live=classifier, name="mine"))
    assert Fact("texts of an input", "1", "assumed") in model.facts
    assert Fact("labels", "0, 1, 2", "assumed") in model.facts
    assert "so one is assumed; pass --pair-order" in model.notes[0]
    assert (False, None) == (model.spec.pair, model.spec.text_order)
    model = load_from_options(ModelOptions("", live=classifier, name="mine", pair=True))
    assert Fact("order of the texts", "premise, hypothesis", "assumed") in model.facts
    assert "premise, hypothesis is assumed; pass --pair-order hypothesis-premise" in model.notes[0]
    stated = ModelOptions("", live=classifier, name="mine", text_order=("premise", "hypothesis"))
    model = load_from_options(stated)
    assert Fact("order of the texts", "premise, hypothesis", "stated") in model.facts
    assert () == model.notes


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"text_order": ("left", "right")}, "text_order: must name premise and hypothesis, each"),
        ({"text_order": ("premise", "premise")}, "text_order: must name premise and hypothesis"),
        ({"text_order": FIRST, "task": "embedding"}, "text_order is for a classifier, and"),
    ],
)
def test_an_order_that_has_no_meaning_is_refused(said, message, tmp_path):
    with pytest.raises(ExportError, match=message):
        export(make_classifier("DistilBert"), tmp_path / "mine", **said)
    assert not (tmp_path / "mine").exists()
