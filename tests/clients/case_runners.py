"""The runners of the table of cases, one a language: what each needs, and how it is built."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CLIENTS = ROOT / "clients"
CACHE = ROOT / ".cache"


@dataclass(frozen=True, slots=True)
class Runner:
    """How one language runs the cases.

    Attributes:
        language: its name, as the samples print it.
        tools: programs that have to be on the PATH.
        build: the command that builds the runner, where there is one, and the folder it runs in.
        command: the command that runs it.
        slow: whether the first build takes more than a minute, so that only `make test-clients`
            builds it.
    """

    language: str
    command: tuple[str, ...]
    tools: tuple[str, ...] = ()
    build: tuple[str, ...] = ()
    slow: bool = False

    def ready(self) -> list[str]:
        """Build the runner and return its command; skip where a tool is missing."""
        for tool in self.tools:
            if shutil.which(tool) is None:
                pytest.skip(f"{self.language}: {tool} is not installed")
        return list(self.command)


RUNNERS = (Runner("Python", (sys.executable, str(ROOT / "tests" / "clients" / "run_cases.py"))),)
