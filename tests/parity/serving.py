"""The real server, as `make install` puts it beside the export stage, over exported bundles."""

import contextlib
import subprocess
from pathlib import Path

import pytest

SERVER = Path(__file__).parents[2] / ".venv" / "bin" / "semserve-server"


@contextlib.contextmanager
def serving(models):
    """Start the server over a directory of bundles; gives the address that it listens on."""
    if not SERVER.is_file():
        pytest.skip("the server is not installed beside the export stage: make install")
    process = subprocess.Popen(
        [SERVER, "--models", str(models), "--address", "127.0.0.1:0"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        said = []
        for line in process.stderr:
            said.append(line)
            if "serving on " in line:
                yield line.split("serving on ")[1].split(": ")[0]
                break
        else:
            raise AssertionError("".join(said))
    finally:
        process.terminate()
        process.communicate(timeout=30)
