"""What cuts a training off in the middle, and keeps what lay on disk then."""

import shutil

from rich.console import Console
from rich.progress import Progress


class CutOff(Exception):
    """Stands for whatever ends a process in the middle of a step."""


class Cutting(Progress):
    """A display that copies the training's directory in some steps, and cuts it off in the last."""

    def __init__(self, directory, copies):
        super().__init__(console=Console(quiet=True))
        self.directory, self.copies, self.steps = directory, copies, 0

    def advance(self, task_id, advance=1):
        super().advance(task_id, advance)
        self.steps += 1
        if self.steps in self.copies:
            shutil.copytree(self.directory, self.copies[self.steps])
        if self.steps == max(self.copies):
            raise CutOff
