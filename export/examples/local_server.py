"""Starts a server for an example: a process that serves a directory of bundles until the end."""

# ruff: noqa: INP001 - beside scripts, and no module of a package

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

INSTALLED = Path(__file__).parents[2] / ".venv" / "bin" / "semserve-server"


@contextlib.contextmanager
def serve(models: Path) -> Iterator[str]:
    """Serve the bundles of a directory on a free port, and yield the address."""
    command = shutil.which("semserve-server") or str(INSTALLED)
    process = subprocess.Popen(  # noqa: S603 - our own server
        [command, "--models", str(models), "--address", "127.0.0.1:0"],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None  # noqa: S101 - it is a pipe
    said = []
    try:
        for line in process.stderr:
            said.append(line)
            if "serving on " in line:
                yield line.split("serving on ")[1].split(": ")[0]
                return
        raise SystemExit("the server did not start:\n" + "".join(said))
    finally:
        process.terminate()
        process.communicate(timeout=30)
