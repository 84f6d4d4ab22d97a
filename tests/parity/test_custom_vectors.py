"""What `train --vectors` does not take; `test_exports_by_command` trains, exports and serves."""

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
