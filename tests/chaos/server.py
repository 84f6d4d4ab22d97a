"""A server process over the tiny models, as users start it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from load.process import Process, running

TINY = Path(__file__).parent.parent / "bundles"
SERVING = "serving on "


@dataclass(frozen=True, slots=True)
class Server:
    """A server that has said where it listens."""

    process: Process
    address: str

    @property
    def said(self) -> str:
        """All that it has logged."""
        return self.process.log.read_text(errors="replace")

    @property
    def lives(self) -> bool:
        """Whether the process still runs."""
        return self.process.popen.poll() is None


def known_calibrations() -> dict[str, str]:
    """The variable with which a server finds the measurements that the tests keep, if they do."""
    return {"SEMSERVE_CACHE_DIR": os.environ.get("TEST_CALIBRATIONS", "auto")}


@contextlib.contextmanager
def serving(*flags: str, models: Path = TINY) -> Iterator[Server]:
    """Serve a directory of bundles on a free port until the end.

    Raises:
        StartError: it did not start to serve.
    """
    command = [sys.executable, "-m", "semserve_server", "--address", "127.0.0.1:0"]
    arguments = [*command, "--models", models, *flags]
    with running("semserve", arguments, environment=known_calibrations()) as process:
        said = process.wait_for(lambda said: SERVING in said, "banner")
        yield Server(process, said.split(SERVING)[1].split(": ")[0])
