"""Whether the models that requests without a name mean are there, said at the start."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from semserve_server.config import Config
from semserve_server.errors import ConfigError
from semserve_server.registry.registry import TASKS

log = logging.getLogger(__name__)

_USUAL = Config()
_FLAGS = {
    "embedding": ("--default-embedder", _USUAL.default_embedder),
    "classification": ("--default-classifier", _USUAL.default_classifier),
    "score": ("--default-scorer", _USUAL.default_scorer),
    "sparse_embedding": ("--default-sparse-embedder", _USUAL.default_sparse_embedder),
}
"""A task's flag, and what it is where nobody sets it."""


def check_defaults(defaults: Mapping[str, str], loaded: Mapping[str, str]) -> None:
    """Warn of a default that is not loaded. It may be loaded later, so it does not end the start.

    One that somebody has set is warned of in any case, the usual one where it makes a difference.

    Args:
        defaults: names of the default models, by task.
        loaded: tasks of the loaded models, by name.

    Raises:
        ConfigError: a default that somebody has set is a model of another task.
    """
    for task, (flag, usual) in _FLAGS.items():
        default = defaults.get(task, usual)
        candidates = [name for name, of in loaded.items() if of == task]
        if default in candidates or not default:
            continue
        if default in loaded and default != usual:
            raise ConfigError(f"{flag} {default}: that model is not {TASKS[task]}")
        if default != usual or len(candidates) > 1:
            log.warning(
                "%s %s: no such model is loaded, so %s", flag, default, _result(task, candidates)
            )


def _result(task: str, candidates: list[str]) -> str:
    """Tell what requests that name no model get."""
    match candidates:
        case []:
            return f"requests that name none are refused: no model is {TASKS[task]}"
        case [only]:
            return f"requests that name none get {only}, the only one"
        case _:
            return f"requests must name one of: {', '.join(candidates)}"
