"""What `train --vectors` refuses, and its rate; `test_exports_by_command` trains and serves."""

import json
import zipfile

import pytest
from semserve_export.cli.app import run_command_line as main

# Keras saves variables through an __array__ that numpy finds old-fashioned.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--vectors", "no.vec"], "--vectors: no.vec: no such file"),
        (["nli-minilm", "--vectors", "no.vec"], "--vectors: takes no start, and nli-minilm is"),
        ([], "name a recipe or the directory of a preset, or --vectors FILE"),
        (["--vectors", "own.vec"], "--vectors: the classifier needs its labels"),
        (["--vectors", "own.vec", "--label", "a", "--label", "b", "--resume"], "--resume: is for"),
        (
            ["--vectors", "own.vec", "--label", "a", "--label", "b", "--output", "trained"],
            "trained: holds model.keras; --fresh replaces it",
        ),
    ],
)
def test_what_a_training_on_vectors_does_not_take_is_refused(
    tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.vec").write_text("the 1 2\n")
    (tmp_path / "trained").mkdir()
    (tmp_path / "trained/model.keras").touch()
    code = main(["train", *arguments, "--train", "a.tsv", "--validation", "a.tsv"])
    assert (2, True) == (code, message in capsys.readouterr().err)


def test_the_default_rate_of_transformers_is_used_where_it_is_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.vec").write_text("the 1 2\ncat 2 1\n")
    (tmp_path / "a.tsv").write_text("premise\thypothesis\tlabel\nthe\tcat\ta\ncat\tcat\tb\n")
    files = ("--train", "a.tsv", "--validation", "a.tsv", "--output", "trained")
    plan = ("--label", "a", "--label", "b", "--epochs", "0", "--learning-rate", "0.00015")
    assert 0 == main(["train", "--vectors", "own.vec", *files, *plan])
    with zipfile.ZipFile("trained/model.keras") as model:
        optimizer = json.loads(model.read("config.json"))["compile_config"]["optimizer"]
    assert 0.00015 == pytest.approx(optimizer["config"]["learning_rate"])
