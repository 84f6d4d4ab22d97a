"""The log of a training's figures, for monitoring and for the report."""

import json
import time
from pathlib import Path
from typing import Any


class ResultLog:
    """One JSON object in each line, with its step and the seconds since the start."""

    def __init__(self, path: Path) -> None:
        self._path, self._before, self._started = path, 0, time.monotonic()

    def start(self, step: int, seconds: int) -> None:
        """Start at a step, and keep the lines up to it, which took this number of seconds."""
        self._before, self._started = seconds, time.monotonic()
        kept = [line for line in self.lines() if line["step"] <= step] if step else []
        self._path.write_text("".join(f"{json.dumps(line)}\n" for line in kept), encoding="utf-8")

    def seconds(self) -> int:
        """Return the seconds of training, including those before an interruption."""
        return self._before + round(time.monotonic() - self._started)

    def write(self, **figures: Any) -> None:
        """Append one line."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"seconds": self.seconds(), **figures}) + "\n")

    def lines(self) -> list[dict[str, Any]]:
        """Read the lines; an incomplete line is skipped."""
        if not self._path.is_file():
            return []
        written = self._path.read_text(encoding="utf-8").split("\n")[:-1]
        return [json.loads(line) for line in written]
