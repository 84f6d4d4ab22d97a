"""The settings of a model that is opened in a program: those of the server that concern it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypedDict, get_args, get_origin, get_type_hints

from cyclopts import Parameter

from semserve_server.config import Config
from semserve_server.errors import ConfigError
from semserve_server.request_checks import check_limits


class Settings(TypedDict, total=False):
    """Keyword arguments of `open_model`. FLAGS.md describes the flag of the same name."""

    batch_workers: int
    intra_op_threads: int
    max_batch_tokens: int
    gpu_memory_limit: int
    cuda_graphs: bool
    cache_dir: str
    max_cache_bytes: int
    calibration_cache: str
    max_queue_entries: int
    max_queue_tokens: int
    max_queue_characters: int
    max_queue_scores: int
    max_request_texts: int
    max_request_scores: int
    max_text_bytes: int
    load_timeout: float


NAMES = ("device", "variant", *Settings.__annotations__)
"""The settings that the library has."""
_KINDS = {int: "a whole number", float: "a number", str: "a text", bool: "True or False"}


def config_of(bundle: Path, given: dict[str, Any]) -> Config:
    """Return the settings as the server has them, with its defaults and bounds.

    Args:
        bundle: directory of the bundle.
        given: the settings by name.

    Raises:
        ConfigError: a setting is unknown, has another type, or is outside its bounds.
    """
    hints = get_type_hints(Config, include_extras=True)
    for name, value in given.items():
        if name not in NAMES:
            raise ConfigError(f"{name}: is no setting of a model; they are: {', '.join(NAMES)}")
        _check(name, value, hints[name])
    config = Config(models=bundle, **given)
    check_limits(config)
    return config


def _check(name: str, value: object, hint: Any) -> None:
    """Refuse a value that the flag of the same name would refuse."""
    kind, *annotations = get_args(hint)
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            choices = ", ".join(get_args(kind))
            raise ConfigError(f"{name} {value!r}: must be one of {choices}")
        return
    fits = (int, float) if kind is float else kind
    if not isinstance(value, fits) or (isinstance(value, bool) and kind is not bool):
        raise ConfigError(f"{name} {value!r}: must be {_KINDS[kind]}")
    for one in annotations:
        validators = one.validator if isinstance(one, Parameter) else ()
        for check in validators if isinstance(validators, tuple) else (validators,):
            if check is not None:
                _validate(name, value, check, kind)


def _validate(name: str, value: object, check: Any, kind: type) -> None:
    try:
        check(kind, value)
    except ValueError as error:
        raise ConfigError(f"{name} {value!r}: {str(error).rstrip('.').lower()}") from None
