"""The examples run as they stand; each compares its own answers."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "export" / "examples"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("lstm_classifier", "good, 0."),
        ("average_embedder", "a word without an id is left out"),
        ("hypothesis_first", "order of the texts: hypothesis, premise"),
        ("cross_encoder", "train a network by gradient descent"),
    ],
)
def test_an_example_ends_in_answers_that_equal_those_of_keras(monkeypatch, capsys, name, line):
    monkeypatch.syspath_prepend(EXAMPLES)
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert line in capsys.readouterr().out
