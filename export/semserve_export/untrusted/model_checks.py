"""Checks the files of a model before Keras deserialises any of them.

There are four kinds: a `.keras` file, a directory that KerasHub saved, a Hugging Face directory,
and the name of a preset that KerasHub downloads.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from semserve_export.errors import WeightsError
from semserve_export.untrusted.configs.keras_layers import checked_layers, is_of_layers
from semserve_export.untrusted.json_file import read_json
from semserve_export.untrusted.keras_archive import read_config
from semserve_export.untrusted.safetensors_file import check_safetensors
from semserve_export.untrusted.saved_objects import checked_model, is_keras_hubs_object
from semserve_export.untrusted.staged_preset import CONFIG, Find, check_objects, find_in, stage

KERAS_SUFFIX = ".keras"
HDF5_SUFFIXES = (".h5", ".hdf5")
SAVE_AGAIN = "load it where it was trained, and save it with save_to_preset or as .keras"
TRUST = "; one of TF Hub's form can be exported with --trust, if you trust its author"
SAFETENSORS = "*.safetensors"
SCHEME = "://"  # of kaggle, hf and others
NOTHING = "no such directory or file, and KerasHub knows no preset of this name"


def check_before_keras(path: str, *, trust: bool = False) -> None:
    """Check configs and lists of archive entries, in milliseconds.

    Args:
        path: a model, as `export` takes it.
        trust: whether a file may contain code.

    Raises:
        WeightsError: the model cannot be exported; the message begins with the path.
    """
    with named(path):
        if trust and is_saved_model(path):
            return
        _refuse_other_formats(path)
        if path.endswith(KERAS_SUFFIX):
            saved = read_config(Path(path))
            if is_keras_hubs_object(saved) or not (trust or is_of_layers(saved)):
                checked_model(saved)
            elif not trust:
                checked_layers(saved)
        elif Path(path).is_dir():
            find = find_in(Path(path))
            if _is_keras_hubs(find):
                check_objects(find)


@contextmanager
def ready_for_keras(path: str) -> Iterator[str]:
    """Check a model, and yield a checked copy for KerasHub (a context manager).

    Raises:
        WeightsError: the model is damaged, or contains an object that is not allowed.
    """
    _refuse_other_formats(path)
    with tempfile.TemporaryDirectory() as directory:
        preset, scratch = Path(directory, "preset"), Path(directory, "archive")
        preset.mkdir()
        scratch.mkdir()
        if path.endswith(KERAS_SUFFIX):
            from semserve_export.untrusted.keras_file import write_preset  # noqa: PLC0415 - imports Keras

            write_preset(Path(path), preset, scratch)
            shutil.rmtree(scratch)  # as large as the weights
            yield str(preset)
            return
        find = find_in(Path(path)) if Path(path).is_dir() else _find_downloaded(path)
        if _is_keras_hubs(find):
            stage(find, preset)
            yield str(preset)
        else:
            if Path(path).is_dir():
                _check_hugging_face(Path(path), find)
            yield path


@contextmanager
def named(path: str) -> Iterator[None]:
    """Prefix the errors of a model with its path."""
    try:
        yield
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from error


def _refuse_other_formats(path: str) -> None:
    if path.endswith(HDF5_SUFFIXES):
        raise WeightsError(f"an HDF5 file, which Keras 2 saved, may run code; {SAVE_AGAIN}")
    given = Path(path)
    if given.is_file() and not path.endswith(KERAS_SUFFIX):
        raise WeightsError(f"this file is no .keras file; {SAVE_AGAIN}")
    is_path = path.endswith(KERAS_SUFFIX) or (os.sep in path and SCHEME not in path)
    if is_path and not given.exists():
        raise WeightsError("no such file or directory")
    if is_saved_model(path):
        raise WeightsError(f"a SavedModel of TensorFlow runs code of its own; {SAVE_AGAIN}{TRUST}")


def is_saved_model(path: str) -> bool:
    """Return whether a path is the directory of a SavedModel of TensorFlow."""
    return any((Path(path) / name).exists() for name in ("saved_model.pb", "keras_metadata.pb"))


def _is_keras_hubs(find: Find) -> bool:
    """Return whether it is a preset of KerasHub or KerasNLP."""
    config = find(CONFIG)
    return config is not None and "registered_name" in read_json(config)


def _find_downloaded(handle: str) -> Find:
    """Find files of a preset that KerasHub downloads; each is downloaded on access."""
    from keras_hub.src.utils import preset_utils  # noqa: PLC0415 - imports Keras

    def find(name: str) -> Path | None:
        try:
            return Path(preset_utils.get_file(handle, name)).resolve()
        except FileNotFoundError:
            return None
        except ValueError as error:
            if str(error).startswith("Unknown preset identifier"):
                raise WeightsError(NOTHING) from error
            raise

    return find


def _check_hugging_face(directory: Path, find: Find) -> None:
    """Check the links of a Hugging Face directory and the headers of its weights."""
    for path in sorted([*directory.glob("*"), *directory.glob("*/*")]):
        if path.is_symlink() or not path.is_dir():
            find(str(path.relative_to(directory)))
    for path in sorted(directory.glob(SAFETENSORS)):
        check_safetensors(path)
