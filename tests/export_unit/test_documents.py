"""Every command of the export's README is one that the command line takes, flag by flag."""

import re
import shlex
from pathlib import Path

import pytest
from semserve_export.cli.app import app

README = Path(__file__).parents[2] / "export" / "README.md"


def commands():
    """Return the commands of the README's blocks, without what stands after two blanks."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    shells = (block for language, block in blocks if language in {"", "sh", "console"})
    lines = "\n".join(shells).replace("\\\n", " ").splitlines()
    return [
        re.split(r" {2,}(?=[^-\s])", line)[0]
        for line in lines
        if line.startswith("semserve-export ")
    ]


@pytest.mark.parametrize("command", commands())
def test_a_command_of_the_readme_is_taken(command):
    taken, bound, _ = app.parse_args(
        shlex.split(command)[1:], exit_on_error=False, print_error=False
    )
    assert callable(taken)
    assert bound is not None


def test_the_readme_shows_every_command():
    """By any of its names."""
    shown = {app[shlex.split(command)[1]].default_command for command in commands()}
    every = {app[name].default_command for name in app if app[name].show and name[0] != "-"}
    assert set() == every - shown
