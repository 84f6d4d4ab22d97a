"""Loads a `.keras` file of Keras's own layers, or of any layers if the file is trusted."""

import json
import tempfile
from pathlib import Path
from typing import Any

import keras

from semserve_export.errors import WeightsError
from semserve_export.failures import reason_of
from semserve_export.keras_models.head import Loss
from semserve_export.models.keras_internals import name_modules_of_lambdas
from semserve_export.untrusted.configs.keras_layers import (
    OWN,
    checked_layers,
    loss_of,
    loss_takes_logits,
    unknown_class,
)
from semserve_export.untrusted.keras_archive import CONFIG, METADATA, read_config, unpack_archive


def load_file(file: Path, *, trust: bool) -> tuple[Any, Loss]:
    """Load a model, and return it with the loss of its training.

    Args:
        file: the archive.
        trust: whether its code may run. Without trust, Keras reads an unpacked copy with a config
            that is rewritten from the allow-list.

    Raises:
        WeightsError: the file is damaged, or contains an object that is not on the allow-list.
    """
    if trust:
        name_modules_of_lambdas()
        saved = read_config(file)
        return _loaded(file, saved, safe_mode=False), _loss(saved)
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        saved, stored = unpack_archive(file, place)
        config = checked_layers(saved, stored)
        (place / CONFIG).write_text(json.dumps(config), encoding="utf-8")
        (place / METADATA).touch()  # Keras reads assets if there are four entries
        return _loaded(place, saved, safe_mode=True), _loss(saved)


def _loss(saved: dict[str, Any]) -> Loss:
    return Loss(loss_of(saved), from_logits=loss_takes_logits(saved))


def _loaded(place: Path, saved: dict[str, Any], *, safe_mode: bool) -> Any:
    try:
        return keras.saving.load_model(place, compile=False, safe_mode=safe_mode)
    except MemoryError:
        raise
    except Exception as error:  # Keras raises any error of its layers
        if name := unknown_class(saved):
            raise WeightsError(f"holds a {name}, which Keras does not know; {OWN}") from error
        raise WeightsError(f"cannot be loaded: {reason_of(error)}") from error
