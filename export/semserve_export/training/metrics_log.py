"""Figures as they come, for those who watch a training and for its report."""

import json
import time
from pathlib import Path
from typing import Any


class ResultLog:
    """One JSON object a line, with the step it speaks of and the seconds since the start."""

    def __init__(self, path: Path) -> None:
        self._path, self._before, self._started = path, 0, time.monotonic()

    def start(self, step: int, seconds: int) -> None:
        """Begin at a step, keeping what was written up to it; that took so many seconds."""
        self._before, self._started = seconds, time.monotonic()
        kept = [line for line in self.lines() if line["step"] <= step] if step else []
        self._path.write_text("".join(f"{json.dumps(line)}\n" for line in kept), encoding="utf-8")

    def seconds(self) -> int:
        """Return the whole seconds of training, those before it was cut off too."""
        return self._before + round(time.monotonic() - self._started)

    def write(self, **figures: Any) -> None:
        """Append one line."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"seconds": self.seconds(), **figures}) + "\n")

    def lines(self) -> list[dict[str, Any]]:
        """Read what was written; a line that was cut off is left out."""
        if not self._path.is_file():
            return []
        written = self._path.read_text(encoding="utf-8").split("\n")[:-1]
        return [json.loads(line) for line in written]
