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
    """Set what Keras and TensorFlow read when they are first imported, where the user did not.

    Args:
        trains: leave the GPUs to TensorFlow. Every other command hides them, since fidelity is
            measured on the CPU.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"  # the only one that exports dynamic shapes
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if not trains:
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")


@contextmanager
def held_stderr() -> Iterator[None]:
    """Hold back file descriptor 2, and let it out only where the block fails.

    TensorFlow writes there before its own log level is in force, past `sys.stderr`.
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
    """Make the display of a few steps of unknown length: which one, and since when."""
    return Progress(
        SpinnerColumn(),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
        console=console,
    )


def training_progress(console: Console) -> Progress:
    """Make the display of many steps of like length: how many, and for how long still."""
    return Progress(
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("of"),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.description}"),
        console=console,
    )
