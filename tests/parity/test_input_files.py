"""A damaged, missing or foreign file of a user's is named in one line, with exit code 2."""

import json
import re
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save_file
from semserve_export.cli.app import run_command_line

LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2\nsize 133466304\n"
CONFIG = {"model_type": "bert", "architectures": None}


@pytest.fixture
def command(monkeypatch, tmp_path, capfd):
    """Run the command in an empty directory; gives its exit code and its one line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEMSERVE_DEBUG", raising=False)

    def run(*arguments):
        code = run_command_line(arguments)
        (line,) = capfd.readouterr().err.splitlines()
        assert line.startswith("semserve-export: ")
        return code, line

    return run


@pytest.fixture
def model(tmp_path):
    """A directory that looks like a Hugging Face model of one tensor."""
    directory = tmp_path / "mine"
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(CONFIG))
    (directory / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n")
    save_file({"a": np.zeros((4, 4), np.float32)}, directory / "model.safetensors")
    return directory


def cut(path):
    path.write_bytes(path.read_bytes()[:-10])


def pickled(directory):
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda d: cut(d / "model.safetensors"), r"mine/model.safetensors: has \d+ bytes, its hea"),
        (lambda d: (d / "model.safetensors").write_bytes(b"\1"), "model.safetensors: is cut off"),
        (lambda d: (d / "model.safetensors").write_bytes(b""), "model.safetensors: is cut off"),
        (lambda d: (d / "model.safetensors").write_text(LFS), "model.safetensors: is a pointer of"),
        (lambda d: (d / "vocab.txt").write_text(LFS), "mine/vocab.txt: is a pointer of git-lfs"),
        (lambda d: (d / "config.json").write_text(LFS), "mine/config.json: is a pointer of git-"),
        (lambda d: (d / "config.json").write_text('{"a":'), "mine/config.json: is no JSON: "),
        (lambda d: (d / "config.json").write_text("[]"), "mine/config.json: is no JSON object"),
        (lambda d: (d / "model.weights.h5").write_bytes(b"x"), "model.weights.h5: is no HDF5 file"),
        (pickled, r"mine/pytorch_model.bin: is a format that is not read; convert the weights"),
        (lambda d: [path.unlink() for path in d.iterdir()], "mine: the directory is empty"),
        (
            lambda d: (d / "task.json").write_text('{"class_name": "QuantizedDTypePolicy"}'),
            r"mine/task.json: the model was quantized \(QuantizedDTypePolicy\); save it before",
        ),
    ],
)
def test_a_directory_that_cannot_be_read_is_named_with_its_file(command, model, harm, says):
    harm(model)
    code, line = command("keras", "mine")
    assert 2 == code
    assert re.search(says, line), line


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "mine.keras: is cut off, or no .keras file"),
        (b"PK\3\4 cut", "mine.keras: is cut off, or no .keras file"),
        (LFS.encode(), "mine.keras: is a pointer of git-lfs"),
    ],
)
def test_a_keras_file_that_is_none_is_named(command, tmp_path, content, says):
    (tmp_path / "mine.keras").write_bytes(content)
    code, line = command("keras", "mine.keras")
    assert (2, True) == (code, says in line), line


def test_a_zip_file_that_is_no_model_is_named(command, tmp_path):
    with zipfile.ZipFile(tmp_path / "mine.keras", "w") as archive:
        archive.writestr("readme", "hello")
    code, line = command("keras", "mine.keras")
    assert (2, True) == (code, "mine.keras: is no .keras file: it holds no config.json" in line)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("keras", "./nowhere"), "./nowhere: no such path"),
        (("keras", "nowhere.keras"), "nowhere.keras: no such path"),
        (("keras", "mine/vocab.txt"), "mine/vocab.txt: this file is no .keras file"),
        (("keras", "mine", "--tokenizer", "./other"), "./other: no such path"),
        (("keras", "mine", "--adapter", "other"), "other: no such directory of an adapter"),
        (("keras", "mine", "--license", "none"), "--license: none: no such file"),
        (("keras", "mine", "--output", "mine/vocab.txt"), "mine/vocab.txt is no directory"),
        (("keras", "mine", "--output", "."), "mine is no bundle, so it is not replaced"),
        (("parity", "./nowhere"), "./nowhere: no such path"),
        (("parity", "mine", "none.txt"), "none.txt: no such file of texts"),
        (("parity", "mine", "--texts=-5"), "--texts"),
        (("verify", "mine"), "mine/bundle.json: cannot be read: No such file"),
        (("verify", "mine/vocab.txt"), "mine/vocab.txt/bundle.json: cannot be read: Not a dir"),
        (("measure", "mine", "--pairs", "none.tsv"), "mine/bundle.json: cannot be read: No such"),
        (("run", "nobody"), "no recipe named 'nobody'; there are"),
        (("run", "minilm-l6-v2", "--output", "mine/vocab.txt"), "mine/vocab.txt is no directory"),
    ],
)
def test_a_path_that_is_wrong_is_named(command, model, arguments, says):
    assert model.is_dir()
    code, line = command(*arguments)
    assert (2, True) == (code, says in line), line


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--name", "my model"), "--name: 'my model' is no name"),
        (("--name", "."), "--name: '.' is no name"),
        (("--name", "org/model"), "--name: 'org/model' is no name"),
        (("--name", "../escaped"), "--name: '../escaped' is no name"),
        (("--name", ".hidden"), "--name: '.hidden' is no name"),
        (("--name=-x",), "--name: '-x' is no name"),
        (("--name", "Überschrift"), "--name: 'Überschrift' is no name"),
        (("--name", "n" * 140), "is no name: a name has 1 to 128"),
        (("--label", "a", "--label", "a"), "--label: 'a' is there twice"),
        (("--label", "a", "--label", ""), "--label[1]: is empty"),
        (("--label", "a", "--label", "b" * 300), "--label[1]: has 300 characters, at most 256"),
        (("--label", "a"), "--label: has 1 entries, at least 2 are needed"),
        (("--description", "d" * 600), "--description: has 600 characters, at most 512"),
        (("--max-sequence-length", "2"), "--max-sequence-length: is 2, at least 3 is needed"),
        (("--max-sequence-length", "-5"), "--max-sequence-length: is -5, at least 3 is needed"),
        (("--padded-length", "0"), "--padded-length: 0 is no number of tokens"),
    ],
)
def test_what_the_server_would_refuse_is_refused_before_keras_is_loaded(
    command, model, flags, says
):
    assert model.is_dir()
    code, line = command("keras", "mine", *flags)
    assert (2, True) == (code, says in line), line


def test_a_path_of_which_no_name_can_be_made_asks_for_one(command, model):
    model.rename(model.with_name("日本語-bert"))
    code, line = command("keras", "日本語-bert")
    assert (2, True) == (
        code,
        "日本語-bert: no name can be made of it; pass one with --name" in line,
    )
