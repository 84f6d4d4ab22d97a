"""The command line: quick where it can be, and one line with exit code 2 where it cannot go on."""

import os
import shutil
import subprocess
import sys

import pytest
from semserve_export.cli import app as cli
from semserve_export.cli.app import run_command_line
from semserve_export.cli.terminal import held_stderr
from semserve_export.recipes import RECIPES

QUICK = (["list"], ["--help"], ["run", "--help"], ["train", "--help"], ["--version"], ["run", "x"])
PROBE = f"""
import sys
from semserve_export.cli import app as cli
for arguments in {QUICK!r}:
    cli.run_command_line(arguments)
loaded = {{"keras", "tensorflow", "onnx", "tokenizers"}} & set(sys.modules)
sys.exit(f"these take seconds to import: {{loaded}}" if loaded else 0)
"""


@pytest.fixture
def command(monkeypatch, tmp_path, capfd):
    """Run the command in an empty directory; gives its exit code and what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = run_command_line(arguments)
        return code, *capfd.readouterr()

    return run


def test_what_needs_no_keras_does_not_wait_for_it():
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, check=False)
    assert 0 == done.returncode, done.stderr.decode()


def test_list_names_every_recipe(command):
    code, listed, _ = command("list")
    assert 0 == code
    assert set(RECIPES) <= set(listed.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run",), "name a recipe, or all: minilm-l6-v2"),
        (("run", "gpt"), "no recipe named 'gpt'; there are minilm-l6-v2"),
        (("run", "minilm-l6-v2", "--adapter", "here"), "--adapter goes with the name of one"),
        (("run", "minilm-l6-v2", "--variants", "int4"), "no variant 'int4'; there are fused, int8"),
        (("verify", "nowhere"), "nowhere/bundle.json: cannot be read"),
        (("keras", "no/where", "--name", "mine"), "no/where: no such file or directory"),
        (
            ("train", "minilm-l6-v2", "--train", "a", "--validation", "b"),
            "minilm-l6-v2 is not fine-tuned",
        ),
        (("run", "--wings"), "Unknown option: --wings"),
        (("kera", "mine"), 'Unknown command "kera"'),
        (("keras", "mine", "other"), "Unused Tokens: ['other']"),
        (("keras", "mine", "--pooling", "median"), 'Invalid value "median" for --pooling'),
        (("keras", "mine", "--max-sequence-length", "x"), "for --max-sequence-length: unable"),
        (("keras", "mine", "--name"), "--name requires an argument"),
        (("--debug=maybe", "list"), "Invalid value for --debug"),
        (("train", "nli-minilm", "--train", "a", "--validation", "b"), "a: no such file"),
        (
            ("train", "gpt", "--train", "a", "--validation", "b"),
            "gpt: is no recipe, and a model of",
        ),
        (("train", ".", "--train", "a", "--validation", "b"), ".: a model of your own needs its"),
        (
            ("train", "nli-minilm", "--symmetric", "x", "--train", "a", "--validation", "b"),
            "--symmetric: no label 'x'; there are entailment",
        ),
    ],
)
def test_what_it_cannot_do_is_one_line_and_exit_code_2(command, arguments, message):
    code, _, output = command(*arguments)
    assert 2 == code
    (line,) = output.splitlines()
    assert line.startswith("semserve-export: ")
    assert message in line


WHOLE_NUMBERS = [
    (command, flag)
    for command, flags in {
        "train": ("--epochs", "--batch-size", "--lora", "--upper-layers", "--patience"),
        "train-embedder": ("--epochs", "--max-tokens", "--seed"),
        "mix-pairs": ("--near", "--seed"),
        "compare-tokenizers": ("--texts",),
        "export": ("--padded-length", "--max-sequence-length"),
        "verify": ("--padded-length",),
    }.items()
    for flag in flags
]


@pytest.mark.parametrize(("name", "flag"), WHOLE_NUMBERS)
def test_a_fraction_is_refused_for_a_whole_number(command, name, flag):
    code, _, output = command(name, "x", flag, "1.5")
    line = f'semserve-export: Invalid value for {flag}: unable to convert "1.5" into int.\n'
    assert (2, line) == (code, output)


@pytest.mark.parametrize("shown", ["--debug", "SEMSERVE_DEBUG"])
def test_the_traceback_of_a_failure_is_shown_on_demand_alone(command, monkeypatch, shown):
    assert "Traceback" not in command("run", "gpt")[2]
    if shown == "--debug":
        code, _, output = command("--debug", "run", "gpt")
    else:
        monkeypatch.setenv(shown, "1")
        code, _, output = command("run", "gpt")
    assert (2, True) == (code, output.startswith("Traceback"))
    assert output.splitlines()[-1].startswith("semserve-export: no recipe named 'gpt'")


def test_a_fault_of_ours_is_one_line_that_asks_for_a_report(command, monkeypatch):
    monkeypatch.setattr(cli, "find_recipe", lambda name: {}[name])
    code, _, output = command("run", "gpt")
    (line,) = output.splitlines()
    assert 1 == code
    assert "this is a fault of semserve-export (KeyError: 'gpt' is missing); please report" in line


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_standard_stream_changes_no_exit_code(closed):
    script = f'"$0" -m semserve_export run gpt {closed}'
    done = subprocess.run(["/bin/sh", "-c", script, sys.executable], check=False)
    assert 2 == done.returncode


def test_verify_prints_what_it_measured_and_exits_with_2_where_a_file_was_changed(
    command, exported, tmp_path
):
    shutil.copytree(exported.directory, tmp_path / "copy")
    code, table, output = command("verify", "copy")
    assert (0, "") == (code, output)
    assert 3 == table.count(" holds │")
    (tmp_path / "copy" / "model.onnx").write_bytes(b"changed")
    code, _, output = command("verify", "copy")
    assert 2 == code
    assert "the sha256 is not the manifest's" in output


def test_what_is_held_back_from_standard_error_comes_out_where_the_block_fails(capfd):
    with held_stderr():
        os.write(2, b"chatter")
    assert "" == capfd.readouterr().err
    with pytest.raises(OSError, match="the reason"):
        fail_aloud()
    assert "the reason" == capfd.readouterr().err


def fail_aloud():
    with held_stderr():
        os.write(2, b"the reason")
        raise OSError("the reason")
