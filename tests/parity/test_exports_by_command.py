"""What the commands export in one confined process, with the settings that a user has.

`test_keras_files` has a command that starts the process itself.
"""

import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pytest
from parity.confined_commands import run_confined_commands
from parity.directory_table import CASES
from parity.families import LENGTH, make_classifier
from parity.serving import serving
from rich.progress import Progress
from semserve import Client
from semserve_export.bundle.layout import read_bundle_json
from semserve_export.cli.app import run_command_line as main
from semserve_export.data.pairs import Pair
from semserve_export.distillation.answer_cache import AnswerCache
from semserve_export.distillation.teacher import Teacher
from semserve_export.keras_models.word_index import WordIndex, read_word_index
from semserve_export.options import options_of_bundle

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
    ("the boat " * 30, "the cat " * 30),
]
"""Short, and so long that one text is cut, or both."""
ORDER = ("--pair-order", "hypothesis-premise", *(f"--label={label}" for label in LABELS))
WORDS = ("the", "cat", "dog", "sat", "slept", "not", "a", "house", ",", "House")
TRAINED_ON = (
    ("the cat sat", "a cat sat", "yes"),
    ("the cat sat", "the cat slept, not sat", "no"),
    ("a dog slept", "the dog slept", "yes"),
    ("a dog slept", "the dog sat", "no"),
)
ASKED = [("the cat slept", "a cat slept"), ("quixotic dog", "not a house")]
PROMPTS = ("--prompt", "d=document: ", "--prompt", "none=", "--default-prompt", "d")
COMMANDS = {
    "pairs": ["keras", "pairs.keras", "--pair", "--variants", "fused", *ORDER],
    "own": [
        *("export", "trained/model.keras", "--tokenizer", "trained/words.json"),
        *("--label", "no", "--label", "yes", "--name", "own"),
    ],
    "sentences": ["export", "sentences", "--variants", "none", *PROMPTS],
    "proved": ["verify", "models/sentences", "--source", "sentences"],
}


@dataclass(frozen=True)
class Exported:
    """Where the models and bundles are, what commands printed, and a client of a server."""

    place: Path
    printed: dict[str, str]
    client: Client
    classifier: keras.Model


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    place, printed = tmp_path_factory.mktemp("commands"), {}
    classifier = make_classifier("Bert")
    classifier.save(place / "pairs.keras")
    {case.name: case for case in CASES}["default-prompt"].write(place / "sentences")
    printed["training"] = train_on_own_vectors(place)
    answers = run_confined_commands(place, COMMANDS)
    assert [0] * len(COMMANDS) == [code for code, _, _ in answers.values()], answers
    for name, (_, output, _) in answers.items():
        printed[name] = " ".join(output.split())
    with serving(place / "models") as address, Client(address) as client:
        yield Exported(place, printed, client, classifier)


def train_on_own_vectors(place):
    random = np.random.default_rng(4)
    with (place / "own.vec").open("w") as file:
        file.write(f"{len(WORDS)} 6\n")
        file.writelines(f"{word} {' '.join(map(str, random.normal(0, 1, 6)))}\n" for word in WORDS)
    rows = "".join("\t".join(pair) + "\n" for pair in TRAINED_ON * 8)
    (place / "pairs.tsv").write_text("premise\thypothesis\tlabel\n" + rows)
    files = ("--train", "pairs.tsv", "--validation", "pairs.tsv", "--output", "trained")
    more = ("--label", "no", "--label", "yes", "--epochs", "12", "--learning-rate", "0.01")
    with contextlib.chdir(place), contextlib.redirect_stdout(io.StringIO()) as said:
        assert 0 == main(["train", "--vectors", "own.vec", *files, *more])
    return said.getvalue().replace("\n", " ")


def test_a_classifier_trained_hypothesis_first_is_served_as_keras_predicts(exported, tmp_path):
    premises, hypotheses = (list(texts) for texts in zip(*PAIRS, strict=True))
    expected = exported.classifier.predict((hypotheses, premises), verbose=0)
    swapped = exported.classifier.predict((premises, hypotheses), verbose=0)
    assert np.abs(expected - swapped).max() > 0.01, "the order matters to this model"
    assert "hypothesis, premise" in exported.printed["pairs"]
    assert "odd texts are tokenised otherwise" in exported.printed["pairs"]
    bundle = exported.place / "models" / "pairs"
    manifest = read_bundle_json(bundle / "bundle.json")
    assert ["hypothesis", "premise"] == manifest["text_order"]
    alone = [exported.client.classify([pair], model="pairs").logits[0] for pair in PAIRS]
    together = exported.client.classify(PAIRS, model="pairs").logits
    np.testing.assert_allclose(alone, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(together, expected, rtol=0, atol=1e-5)
    teacher = Teacher.read(bundle, LABELS)
    with Progress() as progress:
        pairs = [Pair(*pair) for pair in PAIRS]
        taught = teacher.answer(pairs, LENGTH, AnswerCache(tmp_path / "answers"), progress)
    np.testing.assert_allclose(taught, expected, rtol=0, atol=1e-5)
    options = options_of_bundle("pairs.keras", manifest)
    asked = (options.text_order, options.takes_pairs)
    assert (("hypothesis", "premise"), True) == asked, "what `verify` asks for"


def test_what_was_trained_on_own_vectors_is_served_as_keras_computes_it(exported):
    assert "accuracy on the held-out pairs 1.0" in exported.printed["training"]
    index = read_word_index(exported.place / "trained" / "words.json")
    assert {*WORDS} - {",", "House"} == set(index.ids), "words that Keras's Tokenizer never makes"
    model = keras.saving.load_model(exported.place / "trained" / "model.keras", compile=False)
    expected = [scores(model, index, pair) for pair in ASKED]
    together = exported.client.classify(ASKED, model="own").scores
    alone = [exported.client.classify([pair], model="own").scores[0] for pair in ASKED]
    np.testing.assert_allclose(together, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(alone, expected, rtol=0, atol=1e-5)


def scores(model: keras.Model, index: WordIndex, pair: tuple[str, str]) -> np.ndarray:
    return np.asarray(model([np.array(index.read([text])) for text in pair]))[0]


def test_one_command_exports_a_sentence_model_and_another_proves_it(exported):
    assert "q: 'q: ', d: 'document: ', none: ''" in exported.printed["sentences"]
    bundle = exported.place / "models" / "sentences"
    manifest = read_bundle_json(bundle / "bundle.json")
    assert ("mean", True, "cosine", 32) == tuple(
        manifest[key] for key in ("pooling", "normalized", "metric", "max_sequence_length")
    )
    assert {"q": "q: ", "d": "document: ", "none": ""} == manifest["prompts"]
    assert "d" == manifest["default_prompt"]
    golden = json.loads((bundle / "golden.json").read_text())
    texts = [case["text"] for case in golden["cases"]]
    assert {"q: a", "document: a"} < set(texts), "a golden answer for each prompt that is not empty"
