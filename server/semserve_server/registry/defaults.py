"""The default models, and the check at the start that they are loaded."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from semserve_server.config import Config
from semserve_server.errors import ConfigError
from semserve_server.registry.registry import TASKS

log = logging.getLogger(__name__)

_FLAGS = {
    "embedding": "--default-embedder",
    "classification": "--default-classifier",
    "score": "--default-scorer",
    "sparse_embedding": "--default-sparse-embedder",
}


def default_models(config: Config) -> dict[str, str]:
    """Return the name of the default model of each task."""
    return {
        "embedding": config.default_embedder,
        "classification": config.default_classifier,
        "score": config.default_scorer,
        "sparse_embedding": config.default_sparse_embedder,
    }


def check_defaults(defaults: Mapping[str, str], loaded: Mapping[str, str]) -> None:
    """Warn if a default model is not loaded. It may be loaded later, so the start continues.

    A value that the user set is always checked. The built-in value is checked only if it matters,
    with several candidates.

    Args:
        defaults: names of the default models, by task.
        loaded: tasks of the loaded models, by name.

    Raises:
        ConfigError: the user set a default model of another task.
    """
    for task, usual in default_models(Config()).items():
        flag, default = _FLAGS[task], defaults.get(task, usual)
        candidates = [name for name, of in loaded.items() if of == task]
        if default in candidates or not default:
            continue
        if default in loaded and default != usual:
            raise ConfigError(f"{flag} {default}: that model is not {TASKS[task]}")
        if default != usual or len(candidates) > 1:
            log.warning(
                "%s %s: this model is not loaded: %s", flag, default, _result(task, candidates)
            )


def _result(task: str, candidates: list[str]) -> str:
    """Return what happens to requests that name no model."""
    match candidates:
        case []:
            return f"requests that name no model fail, because no loaded model is {TASKS[task]}"
        case [only]:
            return f"requests that name no model use {only}, the only one"
        case _:
            return f"requests must name one of: {', '.join(candidates)}"
