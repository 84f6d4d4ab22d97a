"""Parts of all commands: the terminal, the flag of the cache, and the late import of Keras."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from semserve_export.cli.quiet import choose_backend, held_stderr

console = Console()
Cache = Annotated[Path, Parameter(env_var="SEMSERVE_WEIGHTS")]
CACHE = Path(".cache/weights")


def commands(module: str = "export_commands") -> ModuleType:
    """Import a module of `cli/` that needs Keras. It takes several seconds and shows a spinner."""
    choose_backend(trains=module in {"training_commands", "vectors_commands"})
    with console.status("Starting Keras"), held_stderr():
        return importlib.import_module(f"semserve_export.cli.{module}")
