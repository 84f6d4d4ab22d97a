"""Which text of a pair comes first: stated or assumed, kept in the bundle, and served."""

import pytest
from parity.families import make_classifier
from semserve_export import export
from semserve_export.errors import ExportError
from semserve_export.options import ModelOptions
from semserve_export.pipeline.loading import load_from_options
from semserve_export.report import Fact

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
FIRST = ("hypothesis", "premise")


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
