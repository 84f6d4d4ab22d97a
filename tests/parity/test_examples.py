"""The examples run as they stand; each compares the server's answers with Keras's."""

import runpy
from pathlib import Path

import pytest

# NumPy's and Keras's, about how Keras saves a model.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
SLOW = pytest.mark.slow
"""Of `make test-long`, as other tests hold the same: `test_text_order`, `test_heads`,
`test_towers_served`."""
EXAMPLES = Path(__file__).parents[2] / "export" / "examples"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("lstm_classifier", "good, 0."),
        ("average_embedder", "a word without an id is left out"),
        pytest.param("hypothesis_first", "order of the texts: hypothesis, premise", marks=SLOW),
        pytest.param("cross_encoder", "train a network by gradient descent", marks=SLOW),
        pytest.param(
            "siamese_bert", "one encoder for both sides compared by manhattan", marks=SLOW
        ),
        pytest.param("two_lstms", "an encoder for each side compared by cosine", marks=SLOW),
        ("tf_hub_bert", "pooling: pooled"),
    ],
)
def test_an_example_ends_in_answers_that_equal_those_of_keras(monkeypatch, capsys, name, line):
    monkeypatch.syspath_prepend(EXAMPLES)
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert line in capsys.readouterr().out
