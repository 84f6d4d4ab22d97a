"""The newest grpcio, in a directory apart, to compare it with the locked one."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from load.server import Absent

UV = Path(".tools/uv/bin/uv")


def locked() -> str:
    """Return the version of this environment."""
    return version("grpcio")


def install(directory: Path) -> None:
    """Install the newest release from PyPI.

    Raises:
        Absent: there is no installer.
    """
    if not UV.is_file():
        raise Absent(f"no {UV}: run `make install`")
    command = [UV, "pip", "install", "--quiet", "--upgrade", "--python", sys.executable]
    subprocess.run([*command, "--target", directory, "grpcio"], check=True)


def newest(directory: Path) -> str:
    """Return the version that is installed there.

    Raises:
        Absent: none is installed.
    """
    for found in directory.glob("grpcio-*.dist-info"):
        return found.name.removeprefix("grpcio-").removesuffix(".dist-info")
    raise Absent(f"grpcio's newest release is not in {directory}: say --install-grpcio once")
