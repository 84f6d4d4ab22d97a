"""Converts a `.keras` file to a KerasHub preset."""

import json
from pathlib import Path

import keras
import keras_hub

from semserve_export.errors import WeightsError
from semserve_export.untrusted.keras_archive import CONFIG, METADATA, unpack_archive
from semserve_export.untrusted.saved_limits import check_stored
from semserve_export.untrusted.saved_objects import checked_model


def write_preset(file: Path, directory: Path, scratch: Path) -> None:
    """Load a saved task or backbone, and save it as a preset, with its tokenizer if any.

    Keras reads, in safe mode, an unpacked copy with a config that is rewritten from the allow-list.
    Data of the training (optimizer, loss, metrics) are not read.

    Args:
        file: the archive.
        directory: directory of the new preset.
        scratch: an empty directory, for the unpacked archive.

    Raises:
        WeightsError: it is damaged, contains an object that is not allowed, or is not a KerasHub
            classifier, embedder or backbone.
    """
    saved, stored = unpack_archive(file, scratch)
    config = checked_model(saved)
    check_stored(config, stored)
    (scratch / CONFIG).write_text(json.dumps(config), encoding="utf-8")
    (scratch / METADATA).touch()  # Keras reads assets if there are four entries
    model = keras.saving.load_model(scratch, compile=False, safe_mode=True)
    models = keras_hub.models
    if not isinstance(model, models.TextClassifier | models.TextEmbedder | models.Backbone):
        raise WeightsError(
            f"holds a {type(model).__name__}, which cannot be exported: it must be a text"
            " classifier, text embedder or backbone of KerasHub"
        )
    model.save_to_preset(str(directory))
