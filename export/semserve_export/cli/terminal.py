"""Parts of all commands: the terminal, progress, the flag of the cache, the import of Keras."""

import importlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

console = Console()
Cache = Annotated[Path, Parameter(env_var="SEMSERVE_WEIGHTS")]
CACHE = Path(".cache/weights")


def commands(module: str = "export_commands") -> ModuleType:
    """Import a module of `cli/` that needs Keras. It takes several seconds and shows a spinner."""
    choose_backend(trains=module in {"training_commands", "vectors_commands"})
    with console.status("Starting Keras"), held_stderr():
        return importlib.import_module(f"semserve_export.cli.{module}")


def choose_backend(*, trains: bool = False) -> None:
    """Set variables that Keras and TensorFlow read at import, unless the user has set them.

    Args:
        trains: let TensorFlow use the GPUs. Other commands hide them, because differences are
            measured on the CPU.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"  # the only backend that exports dynamic shapes
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if not trains:
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")


@contextmanager
def held_stderr() -> Iterator[None]:
    """Buffer file descriptor 2, and print the buffer only if the block fails.

    TensorFlow writes to it, not to `sys.stderr`, before its log level takes effect.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            with os.fdopen(os.dup(kept), "wb") as stderr:
                shutil.copyfileobj(held, stderr)
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def step_progress(console: Console) -> Progress:
    """Create a display for a few steps: the current step and its elapsed time."""
    return Progress(
        SpinnerColumn(),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
        console=console,
    )


def training_progress(console: Console) -> Progress:
    """Create a display for many steps of similar duration: their number and the remaining time."""
    return Progress(
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("of"),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.description}"),
        console=console,
    )
