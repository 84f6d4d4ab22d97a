"""Loads the model of a user by its kind."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import keras_hub

from semserve_export.errors import ExportError
from semserve_export.files.digest import sha256_of
from semserve_export.keras_models.load import load_keras_model
from semserve_export.keras_models.saved_file import load_file
from semserve_export.models.families import FAMILIES
from semserve_export.models.keras_internals import is_functional, runs_its_graph
from semserve_export.models.loaded_model import LoadedModel
from semserve_export.options import ModelOptions
from semserve_export.pipeline.custom_model import licence_of, load_custom_model, named_errors
from semserve_export.tf_hub.load import load_saved_model
from semserve_export.towers.load import load_two_texts
from semserve_export.towers.served import ModelSource
from semserve_export.towers.two_texts import two_texts
from semserve_export.untrusted.configs.keras_layers import is_of_layers
from semserve_export.untrusted.keras_archive import read_config
from semserve_export.untrusted.model_checks import KERAS_SUFFIX, is_saved_model, named
from semserve_export.untrusted.saved_objects import is_keras_hubs_object

LIVE = "a live Keras model"


def load_from_options(options: ModelOptions) -> LoadedModel:
    """Load a user's model, from memory or from a path.

    Raises:
        ExportError: it cannot be exported; the message is one line with the reason.
    """
    if keras.backend.backend() != "tensorflow":
        raise ExportError(
            f"Keras runs on {keras.backend.backend()}, and the export needs TensorFlow: set"
            " KERAS_BACKEND=tensorflow before Keras is imported"
        )
    if options.live is None and is_saved_model(options.path):
        with named_errors(options.path):
            return load_saved_model(options, licence_of(options))
    if options.live is None:
        return _load_file(options) if _is_file_of_layers(options) else load_custom_model(options)
    if not isinstance(options.live, keras.Model):
        raise ExportError(
            f"model: a {type(options.live).__name__} is neither a Keras model nor the path of one"
        )
    if is_functional(options.live) and not runs_its_graph(options.live):
        kind = type(options.live).__name__
        raise ExportError(
            f"model: {kind} has a call of its own beside its graph of layers, which says otherwise"
            " what it computes; export a keras.Model that has no inputs= and outputs=, with this"
            " call, or the graph alone: keras.Model(model.inputs, model.outputs)"
        )
    if is_keras_hubs(options.live):
        return _load_keras_hubs(options)
    if options.tokenizer is None:  # of a class on one of KerasHub's
        options = replace(options, tokenizer=getattr(options.live, "preprocessor", None))
    return _load_model(options, options.live, ModelSource(LIVE, licence_of(options)))


def _load_model(options: ModelOptions, model: Any, source: ModelSource) -> LoadedModel:
    """Load a Keras model of one text or of two."""
    if texts := two_texts(model):
        return load_two_texts(options, texts, source)
    return load_keras_model(
        options,
        model,
        source=source.source,
        licence=source.licence,
        sha256=source.sha256,
        loss=source.loss,
    )


def _is_file_of_layers(options: ModelOptions) -> bool:
    """Whether the path is a `.keras` file that is not a model of KerasHub."""
    path = Path(options.path)
    if not options.path.endswith(KERAS_SUFFIX) or not path.is_file():
        return False
    with named(options.path):
        saved = read_config(path)
    return is_of_layers(saved) or (options.trust and not is_keras_hubs_object(saved))


def _load_file(options: ModelOptions) -> LoadedModel:
    path = Path(options.path)
    with named_errors(options.path):
        model, loss = load_file(path, trust=options.trust)
        source = ModelSource(path.name, licence_of(options), sha256_of(path), loss)
        return _load_model(options, model, source)


def is_keras_hubs(model: Any) -> bool:
    """Whether a model in memory is a backbone, classifier or embedder of a known family.

    The result is false for a user's subclass of these: a preset would be loaded as another class.
    """
    if not type(model).__module__.startswith("keras_hub."):
        return False
    backbones = tuple(family.backbone for family in FAMILIES)
    kinds = (keras_hub.models.TextClassifier, keras_hub.models.TextEmbedder)
    return isinstance(model, backbones) or (
        isinstance(model, kinds) and isinstance(model.backbone, backbones)
    )


def _load_keras_hubs(options: ModelOptions) -> LoadedModel:
    """Load a KerasHub model in memory through a saved preset, with the same checks."""
    kind = type(options.live).__name__
    notice = f"{options.served_name}: exported by semserve-export from a live {kind} of KerasHub.\n"
    parts, by_path = [options.live], isinstance(options.tokenizer, str | Path)
    if options.tokenizer is not None and not by_path:
        parts.append(options.tokenizer)
    with _saved(*parts) as preset:
        try:
            loaded = load_custom_model(
                replace(
                    options,
                    path=preset,
                    live=None,
                    tokenizer=str(options.tokenizer) if by_path else None,
                    description=options.description or f"{kind} of KerasHub",
                )
            )
        except ExportError as error:
            reason = str(error).removeprefix(f"{preset}: ")
            raise type(error)(f"{kind}: {reason}") from error
    return replace(loaded, source=LIVE, notice=notice)


@contextmanager
def _saved(*parts: Any) -> Iterator[str]:
    """Save a model and its tokenizer or preprocessor as a temporary preset (a context manager).

    Raises:
        ExportError: a part is not an object of KerasHub.
    """
    with tempfile.TemporaryDirectory() as directory:
        preset = str(Path(directory, "preset"))
        for part in parts:
            if not hasattr(part, "save_to_preset"):
                raise ExportError(
                    f"tokenizer: a {type(part).__name__} is no tokenizer or preprocessor of"
                    " KerasHub, which a model of KerasHub needs"
                )
            part.save_to_preset(preset)
        yield preset
