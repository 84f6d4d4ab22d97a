"""Commands written in Go, built where they are not there yet."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

GHZ = "github.com/bojand/ghz/cmd/ghz@v0.121.0"
GRPCURL = "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3"
PLACE = Path(__file__).parents[1] / ".tools" / "bin"


def tool(module: str) -> str:
    """Return the path of a Go command, built where it is not there yet; skip where it cannot be."""
    name = module.partition("@")[0].rpartition("/")[2]
    if found := shutil.which(name, path=f"{PLACE}{os.pathsep}{os.environ['PATH']}"):
        return found
    if not shutil.which("go"):
        pytest.skip(f"{name} is not installed, nor is Go to build it with")
    built = subprocess.run(
        ["go", "install", module],
        env=os.environ | {"GOBIN": str(PLACE)},
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode:
        pytest.skip(f"{name} cannot be built here: {built.stderr.strip().splitlines()[-1]}")
    return str(PLACE / name)
