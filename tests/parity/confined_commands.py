"""Many command lines in one confined process, as each start of Keras takes seconds."""

import json
import os
import subprocess
import sys

COMMANDS = """
import contextlib, io, json, sys
from pathlib import Path
from semserve_export.cli.app import run_command_line
from semserve_export.confinement.process_limits import Confinement, confine
directory, commands = sys.argv[1], json.loads(sys.argv[2])
confine(Confinement((), (directory,)), Path(directory))
answers = {}
for name, arguments in commands.items():
    printed, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(printed):
        code = run_command_line(arguments)
    answers[name] = (code, printed.getvalue(), said.getvalue())
print(json.dumps(answers))
"""


def run_confined_commands(directory, commands):
    """Run the command lines one after another; give (exit code, output, errors) of each by name.

    Args:
        directory: where the process may write.
        commands: the arguments of each by its name.
    """
    temporary = directory / "temporary"
    temporary.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, str(directory), json.dumps(commands)],
        env=os.environ | {"TMPDIR": str(temporary)}, cwd=directory,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])
