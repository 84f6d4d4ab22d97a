"""Several servers, each on a port of its own that it keeps when it starts again."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conftest import CALIBRATIONS
from load.process import Process, free_port, running

TINY = Path(__file__).parent.parent / "bundles"
MODEL = "tiny-embed"
"""The one model that the replicas have."""
SERVING = "serving on "
FLAGS = (
    "--variant", "portable", "--batch-workers", "1", "--intra-op-threads", "1",
    "--drain-delay", "2",  # longer than the two health checks of Envoy
)  # fmt: skip
ROUNDS = int(os.environ.get("SCALE_ROUNDS", "0"))
"""How often each test is run, as `make test-scale` says; 0: the short form, once."""
LONG_FORM = pytest.mark.skipif(not ROUNDS, reason="part of the long form: run `make test-scale`")
END_SECONDS = 40.0
"""More than a drain may take."""


@dataclass(slots=True)
class Replica:
    """A server that can end and start again on its port.

    `process` is that of the last start; before the first start there is none.
    """

    port: int
    flags: tuple[str, ...] = ()
    process: Process | None = None
    host: str = "127.0.0.1"
    """A loopback address."""
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def address(self) -> str:
        """Where it listens, as HOST:PORT."""
        return f"{self.host}:{self.port}"

    @property
    def runs(self) -> bool:
        """Whether its process has started and not ended."""
        return self.process is not None and self.process.popen.poll() is None

    def start(self) -> None:
        """Start it, without waiting until it serves."""
        command = [sys.executable, "-m", "semserve_server", "--address", self.address]
        environment = {"SEMSERVE_CACHE_DIR": CALIBRATIONS}
        self.process = self._stack.enter_context(
            running(
                f"replica {self.port}",
                [*command, "--models", TINY / MODEL, *FLAGS, *self.flags],
                environment=environment,
            )
        )

    def wait_until_serving(self) -> None:
        """Wait until it has said that it serves."""
        assert self.process
        self.process.wait_for(lambda said: SERVING in said, "banner")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process
        self.process.popen.send_signal(number)

    def end(self) -> int:
        """Drain it with SIGTERM, and give its exit code."""
        self.send(signal.SIGTERM)
        assert self.process
        code = self.process.popen.wait(END_SECONDS)
        self._stack.close()
        return code

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        self.send(signal.SIGKILL)
        self._stack.close()

    def restart(self) -> None:
        """Drain it, start it again, and wait until it serves."""
        code = self.end()
        assert 0 == code
        self.start()
        self.wait_until_serving()

    @property
    def answered(self) -> int:
        """How many requests its log has since its last start; needs `--access-log`."""
        assert self.process
        return self.process.log.read_text(errors="replace").count("Embed OK")

    def close(self) -> None:
        """End it at once, however it is."""
        if self.runs:
            self.kill()


@contextlib.contextmanager
def replicas(number: int, *flags: str) -> Iterator[list[Replica]]:
    """Start so many servers of the tiny embedder, side by side, and wait until all serve."""
    all_of_them = [Replica(free_port(), flags) for _ in range(number)]
    with contextlib.ExitStack() as stack:
        for one in all_of_them:
            stack.callback(one.close)
            one.start()
        for one in all_of_them:
            one.wait_until_serving()
        yield all_of_them
