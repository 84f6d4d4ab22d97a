"""`semserve completion`: what a real shell completes with it."""

from __future__ import annotations

import subprocess

import pytest


def completed(script: str, *words: str) -> list[str]:
    """Return what bash offers for the last of the words."""
    array = " ".join(words)
    request = (
        f"{script}\nCOMP_WORDS=(semserve {array}); COMP_CWORD={len(words)}\n"
        '_semserve; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", request], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_bash_completes_commands_flags_and_values(command):
    script = command("completion", "bash").out
    assert ["search"] == completed(script, "sea")
    assert ["--texts-per-call"] == completed(script, "bench", "--texts")
    assert ["cosine"] == completed(script, "rank", "--metric", "cos")


@pytest.mark.parametrize(("shell", "line"), [("zsh", "#compdef semserve"), ("fish", "complete")])
def test_other_shells_have_scripts_too(command, shell, line):
    output = command("completion", shell)
    assert (0, "") == (output.code, output.err)
    assert line in output.out


def test_an_unknown_shell_is_one_line(command):
    output = command("completion", "tcsh")
    assert (2, "", 1) == (output.code, output.out, len(output.err.splitlines()))
