"""A `.keras` file, turned into the preset that KerasHub would have saved in its place."""

from pathlib import Path

import keras
import keras_hub

from semserve_export.errors import WeightsError

SUFFIX = ".keras"


def write_preset(file: Path, directory: Path) -> None:
    """Load a saved task or backbone, and save it as a preset, with its tokenizer where it has one.

    Keras loads it in safe mode: no code that a file brings along is run.

    Raises:
        WeightsError: it holds no KerasHub classifier, embedder or backbone.
    """
    model = keras.saving.load_model(file, compile=False)
    models = keras_hub.models
    if not isinstance(model, models.TextClassifier | models.TextEmbedder | models.Backbone):
        raise WeightsError(
            f"holds a {type(model).__name__}, which cannot be exported: it must be a text"
            " classifier, text embedder or backbone of KerasHub"
        )
    model.save_to_preset(str(directory))
