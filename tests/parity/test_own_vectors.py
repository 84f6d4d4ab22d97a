"""A classifier on word vectors of one's own: trained, exported as any Keras file, and served."""

import keras
import numpy as np
import pytest
from parity.serving import serving
from semserve import Client
from semserve_export.cli.app import run_command_line as main
from semserve_export.keras_models.word_index import WordIndex, read_word_index

# Keras saves variables through an __array__ that numpy finds old-fashioned.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
LABELS = ("no", "yes")
WORDS = ("the", "cat", "dog", "sat", "slept", "not", "a", "house", ",", "House")
PAIRS = (
    ("the cat sat", "a cat sat", "yes"),
    ("the cat sat", "the cat slept, not sat", "no"),
    ("a dog slept", "the dog slept", "yes"),
    ("a dog slept", "the dog sat", "no"),
)
ASKED = [("the cat slept", "a cat slept"), ("quixotic dog", "not a house")]


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """Train by the command; gives the directory of the model."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(4)
    with (tmp_path / "own.vec").open("w") as file:
        file.write(f"{len(WORDS)} 6\n")
        file.writelines(f"{word} {' '.join(map(str, random.normal(0, 1, 6)))}\n" for word in WORDS)
    rows = "".join("\t".join(pair) + "\n" for pair in PAIRS * 8)
    (tmp_path / "pairs.tsv").write_text("premise\thypothesis\tlabel\n" + rows)
    files = ("--train", "pairs.tsv", "--validation", "pairs.tsv")
    labels = [word for label in LABELS for word in ("--label", label)]
    more = ("--epochs", "12", "--output", "trained", "--learning-rate", "0.01")
    assert 0 == main(["train", "--vectors", "own.vec", *files, *labels, *more])
    return tmp_path / "trained"


def test_what_was_trained_on_own_vectors_is_served_as_keras_computes_it(capsys, trained):
    assert "accuracy on the held-out pairs 1.0" in capsys.readouterr().out.replace("\n", " ")
    index = read_word_index(trained / "words.json")
    assert {*WORDS} - {",", "House"} == set(index.ids), "words that Keras's Tokenizer never makes"
    flags = ["--tokenizer", "trained/words.json", "--label", "no", "--label", "yes"]
    assert 0 == main(["export", "trained/model.keras", *flags, "--name", "own"])
    model = keras.saving.load_model(trained / "model.keras", compile=False)
    expected = [scores(model, index, pair) for pair in ASKED]
    flags = ["--train", "pairs.tsv", "--validation", "pairs.tsv", "--label", "no", "--label", "yes"]
    assert 2 == main(["train", "--vectors", "own.vec", *flags, "--output", "trained"])
    assert "trained: holds model.keras; --fresh replaces it" in capsys.readouterr().err
    with serving("models") as address, Client(address) as client:
        together = client.classify(ASKED).scores
        alone = [client.classify([pair]).scores[0] for pair in ASKED]
    np.testing.assert_allclose(together, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(alone, expected, rtol=0, atol=1e-5)


def scores(model: keras.Model, index: WordIndex, pair: tuple[str, str]) -> np.ndarray:
    return np.asarray(model([np.array(index.read([text])) for text in pair]))[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--vectors", "no.vec"], "--vectors: no.vec: no such file"),
        (["nli-minilm", "--vectors", "no.vec"], "--vectors: takes no start, and nli-minilm is"),
        ([], "name a recipe or the directory of a preset, or --vectors FILE"),
        (["--vectors", "own.vec"], "--vectors: the classifier needs its labels"),
        (["--vectors", "own.vec", "--label", "a", "--label", "b", "--resume"], "--resume: is for"),
    ],
)
def test_what_a_training_on_vectors_does_not_take_is_refused(
    tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.vec").write_text("the 1 2\n")
    code = main(["train", *arguments, "--train", "a.tsv", "--validation", "a.tsv"])
    assert (2, True) == (code, message in capsys.readouterr().err)
