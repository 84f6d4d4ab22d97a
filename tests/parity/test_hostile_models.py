"""A stranger's model runs no code: it is refused in one line that names what is wrong with it."""

import json
import shutil
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from parity.confined_commands import run_confined_commands
from parity.families import make_classifier
from parity.hostile import hostile_models, kinds
from semserve_export.errors import WeightsError
from semserve_export.options import ModelOptions
from semserve_export.pipeline.custom_model import load_custom_model
from semserve_export.untrusted.hdf5_file import check_hdf5
from semserve_export.untrusted.keras_archive import unpack_archive
from semserve_export.untrusted.saved_assets import check_asset
from semserve_export.untrusted.saved_objects import checked_model

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.timeout(300),  # one process starts Keras; minutes on a crowded machine
]

LAMBDA = "CVE-2024-3660, the code of a Lambda"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Save a tiny classifier, as a file and as a preset."""
    directory = tmp_path_factory.mktemp("saved")
    classifier = make_classifier("Bert")
    classifier.save(directory / "good.keras")
    classifier.save_to_preset(str(directory / "good"))
    return directory / "good.keras", directory / "good"


@pytest.fixture(scope="module")
def models(saved, tmp_path_factory):
    return hostile_models(*saved, tmp_path_factory.mktemp("hostile"))


@pytest.fixture(scope="module")
def answers(saved, models, tmp_path_factory):
    """Give every model to `keras`, and one to each other command that reads models."""
    good, preset = map(str, saved)
    directory = tmp_path_factory.mktemp("run")
    output = ["--output", str(directory / "models"), "--variants", "none"]
    commands = {kind: ["keras", str(path), *output] for kind, (path, _) in models.items()}
    bad = str(models[LAMBDA][0])
    adapter = directory / "adapter"
    adapter.mkdir()
    (adapter / "adapter.json").write_text("[" * 100_000)
    pairs = ["--label", "a", "--label", "b", "--train", "x.tsv", "--validation", "x.tsv"]
    task = str(models["a preset's task"][0])
    bundle = Path(__file__).parents[1] / "bundles" / "tiny-embed"
    commands |= {
        "parity": ["parity", bad],
        "verify": ["verify", str(bundle), "--source", bad],
        "train": ["train", task, *pairs],
        "--tokenizer": ["keras", good, "--tokenizer", bad, *output],
        "--adapter": ["keras", preset, "--adapter", str(adapter), *output],
    }
    return run_confined_commands(directory, commands)


def the_line(answer):
    """Return the one line that a refused command writes to standard error."""
    code, _, output = answer
    assert 2 == code, output
    (line,) = output.splitlines()
    assert line.startswith("semserve-export: ")
    return line


@pytest.mark.parametrize("kind", kinds())
def test_a_hostile_model_is_refused_in_one_line_and_runs_nothing(kind, models, answers):
    path, output = models[kind]
    line = the_line(answers[kind])
    assert str(path) in line
    assert output in line
    assert not (path.parent / "marker").exists()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("parity", "a Lambda layer"),
        ("verify", "a Lambda layer"),
        ("train", "task.json holds a Lambda layer"),
        ("--tokenizer", "a Lambda layer"),
        ("--adapter", "adapter.json is nested deeper than"),
    ],
)
def test_every_command_that_reads_a_model_refuses_it(command, said, answers, models):
    assert said in the_line(answers[command])
    assert not (models[LAMBDA][0].parent / "marker").exists()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_lambda_of_these_tests_does_run_where_nothing_is_checked(models):
    """The test of the tests: loaded without care, the file leaves its mark."""
    path = models[LAMBDA][0]
    marker = path.parent / "marker"
    keras.saving.load_model(path, safe_mode=False, compile=False)
    assert marker.exists()
    marker.unlink()


def test_nothing_but_a_path_or_a_name_of_a_preset_is_looked_for():
    with pytest.raises(
        WeightsError, match="nowhere: no such directory or file, and KerasHub knows"
    ):
        load_custom_model(ModelOptions("nowhere"))


ODD_VALUES = (None, True, -1, 10**30, 0.5, "", "a/b", [], [[]], {}, {"class_name": []}, ["x", 1])


def lines_of_refusal(check, value):
    """Return how many lines the refusal has; 0 where the value is let through."""
    try:
        check(value)
    except WeightsError as error:
        return len(str(error).splitlines())
    return 0


def test_a_config_with_any_value_replaced_is_let_through_or_refused_in_one_line(saved):
    random = np.random.default_rng(5)
    with zipfile.ZipFile(saved[0]) as archive:
        config = archive.read("config.json")

    def replaced():
        changed = part = json.loads(config)
        key = random.choice(sorted(part))
        while isinstance(part[key], dict) and part[key] and random.random() < 0.8:
            part = part[key]
            key = random.choice(sorted(part))
        part[key] = ODD_VALUES[random.integers(len(ODD_VALUES))]
        return changed

    assert {0, 1} == {lines_of_refusal(checked_model, replaced()) for _ in range(1500)}


@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("model.weights.h5", check_hdf5),
        ("assets/tokenizer/vocabulary.txt", check_asset),
        ("mine.keras", lambda path: unpack_archive(path, path.parent / "unpacked")),
    ],
)
def test_a_file_with_any_bytes_replaced_is_let_through_or_refused_in_one_line(
    name, check, saved, tmp_path
):
    whole = (saved[0] if name.endswith(".keras") else saved[1] / name).read_bytes()
    random = np.random.default_rng(7)
    path = tmp_path / Path(name).name

    def replaced():
        changed = bytearray(whole)
        for _ in range(random.choice([1, 4, 30])):
            place = random.integers(random.choice([len(whole), 900, 200]))
            changed[place : place + 8] = random.choice([random.bytes(8), b"\xff" * 8])
        shutil.rmtree(tmp_path / "unpacked", ignore_errors=True)
        path.write_bytes(changed)
        return path

    assert 1 in {lines_of_refusal(check, replaced()) for _ in range(100)} <= {0, 1}
