"""Checks that the files of a user's model exist, are complete and have a supported format.

These checks are fast, do not need Keras, and name the file; the errors of the libraries that read
the files later do not name it.
"""

import json
import os
import re
import stat
import zipfile
from pathlib import Path
from typing import Any

from semserve_export.errors import WeightsError

LFS = b"version https://git-lfs"
HDF5 = b"\x89HDF\r\n\x1a\n"
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack")
QUANTIZED = re.compile(r'"class_name":\s*"((?:Quantized|GPTQ|AWQ|Int)\w*DTypePolicy)"')
HEADER_MAX = 100_000_000  # bytes of a safetensors header, the limit of the format's library


def require_readable(path: str) -> None:
    """Check the files of a model's path; KerasHub checks its own handles.

    Raises:
        WeightsError: the message names the file and what to do.
    """
    place = Path(path)
    if not os.path.lexists(place):
        if path.endswith(".keras") or place.is_absolute() or path.startswith((".", "~")):
            raise WeightsError(f"{path}: no such path")
        return
    try:
        if place.is_dir():
            _check_directory(place)
        else:
            _check_keras_file(place)
    except OSError as error:
        raise WeightsError(f"{error.filename or path}: {error.strerror}") from error


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a file that contains one JSON object.

    Raises:
        WeightsError: it is none.
    """
    content = path.read_bytes()
    _refuse_pointer(path, content)
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise WeightsError(f"{path}: is no JSON object")
    return value


def _check_directory(directory: Path) -> None:
    if directory.name.endswith(".keras"):
        raise WeightsError(f"{directory}: is a directory, and a .keras file is one file")
    names = {path.name for path in directory.iterdir()}
    if not names:
        raise WeightsError(f"{directory}: the directory is empty")
    for name in sorted(names):
        path = directory / name
        if path.is_symlink():
            continue  # only `model_checks` follows links, within limits
        if path.suffix == ".safetensors":
            _check_safetensors(path)
        elif path.suffix == ".h5" and name not in PICKLES:
            _check_hdf5(path)
        elif name in {"config.json", "task.json", "preprocessor.json", "tokenizer_config.json"}:
            content = read_json_object(path)
            _refuse_quantized(path, json.dumps(content))
        elif path.suffix in {".txt", ".json", ".model", ".spm"} and path.is_file():
            with path.open("rb") as file:
                _refuse_pointer(path, file.read(len(LFS)))
    weights = any(name.endswith((".safetensors", ".h5")) and name not in PICKLES for name in names)
    if not weights and (found := sorted(names & set(PICKLES))):
        raise WeightsError(
            f"{directory / found[0]}: is a format that is not read; convert the weights to"
            " model.safetensors: in Python with transformers,"
            " AutoModel.from_pretrained(DIRECTORY).save_pretrained(NEW), with the class that"
            " config.json names in place of AutoModel"
        )


def _check_keras_file(file: Path) -> None:
    if not stat.S_ISREG(file.stat().st_mode):
        raise WeightsError(f"{file}: is no file")
    if file.suffix != ".keras":
        return  # refused by `model_checks`, with instructions for each format
    with file.open("rb") as opened:
        _refuse_pointer(file, opened.read(len(LFS)))
    try:
        with zipfile.ZipFile(file) as archive:
            information = archive.getinfo("config.json")
            if information.file_size <= HEADER_MAX:
                _refuse_quantized(file, archive.read(information).decode(errors="replace"))
    except (zipfile.BadZipFile, EOFError) as error:
        raise WeightsError(f"{file}: is cut off, or no .keras file: {error}") from error
    except KeyError as error:
        raise WeightsError(f"{file}: is no .keras file: it holds no config.json") from error
    except (NotImplementedError, RuntimeError, ValueError) as error:  # encrypted, or a new method
        raise WeightsError(f"{file}: cannot be unpacked: {error}") from error


def _check_safetensors(path: Path) -> None:
    """Compare the size of a file with its header (format: huggingface/safetensors)."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(max(8, len(LFS)))
        _refuse_pointer(path, head)
        length = int.from_bytes(head[:8], "little")
        if len(head) < 8 or length > min(HEADER_MAX, size - 8):  # noqa: PLR2004 - bytes of a length
            raise WeightsError(f"{path}: is cut off, or no safetensors file; copy it again")
        file.seek(8)
        header = file.read(length)
    try:
        tensors = json.loads(header)
        ends = [
            tensor["data_offsets"][1] for name, tensor in tensors.items() if name != "__metadata__"
        ]
        expected = 8 + length + max(ends, default=0)
    except (ValueError, RecursionError, AttributeError, TypeError, KeyError, IndexError) as error:
        raise WeightsError(f"{path}: its header is no safetensors header") from error
    if size != expected:
        raise WeightsError(f"{path}: has {size} bytes, its header says {expected}; copy it again")


def _check_hdf5(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(max(len(HDF5), len(LFS)))
    _refuse_pointer(path, head)
    if not head.startswith(HDF5):
        raise WeightsError(f"{path}: is no HDF5 file; copy it again")


def _refuse_pointer(path: Path, content: bytes) -> None:
    if content.startswith(LFS):
        raise WeightsError(
            f"{path}: is a pointer of git-lfs, not the file itself; fetch it with `git lfs pull`"
        )


def _refuse_quantized(path: Path, config: str) -> None:
    if found := QUANTIZED.search(config):
        raise WeightsError(
            f"{path}: the model was quantized ({found[1]}); save it before quantize() is called,"
            " and export it with --variants int8"
        )
