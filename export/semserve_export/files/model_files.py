"""Reads the files of a directory of transformers or sentence-transformers: JSON and safetensors.

No code of such a directory is run. An error is one line that names the file.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from semserve_export.encoder_weights import Array
from semserve_export.errors import WeightsError

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
MODULES = "modules.json"
MAX_JSON_BYTES = 256 * 1024 * 1024
"""Limit of the size of a JSON file in bytes; the largest tokenizer.json files have about 20 MB."""
FLOATS = {"F16", "BF16", "F32", "F64"}
"""The data types of weights; other types are counts, or quantised."""
LFS_POINTER = b"version https://git-lfs"
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack")


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object; a missing file is an empty object.

    Raises:
        WeightsError: the file is not a JSON object, or is too large.
    """
    content = _json(path)
    if not isinstance(content, dict):
        raise WeightsError(f"{path.name}: is no JSON object")
    return content


def read_list(path: Path) -> list[dict[str, Any]]:
    """Read a JSON list of objects.

    Raises:
        WeightsError: the file is not a list of objects, or is too large.
    """
    content = _json(path)
    if not isinstance(content, list) or not all(isinstance(each, dict) for each in content):
        raise WeightsError(f"{path.name}: is no JSON list of objects")
    return content


def _json(path: Path) -> Any:
    if not path.is_file():
        return {}
    if path.stat().st_size > MAX_JSON_BYTES:
        raise WeightsError(f"{path.name}: has more than {MAX_JSON_BYTES} bytes")
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path.name}: is no JSON: {_first_line(error)}") from error


class Tensors(Mapping[str, Array]):
    """The tensors of a directory by their names in the file; each is read on access.

    Floating point numbers of any width are converted to fp32. Tensors that were never read can be
    listed.
    """

    def __init__(self, directory: Path) -> None:
        """Find the file, or the shards that an index names.

        Raises:
            WeightsError: a file is missing or cannot be read; the message names it.
        """
        if (directory / "adapter_config.json").is_file():
            raise WeightsError(
                "adapter_config.json: an adapter (PEFT) lies in the directory; merge it into the"
                " model (merge_and_unload) and save that"
            )
        self._files: dict[str, Path] = {}
        for path in weight_files(directory):
            with _opened(path) as file:
                for name in file.keys():  # noqa: SIM118 - no mapping
                    if name in self._files:
                        raise WeightsError(
                            f"{path.name}: {name} is in {self._files[name].name} too"
                        )
                    self._files[name] = path
        for name, part in _index(directory).items():
            if name not in self._files or self._files[name].name != part:
                raise WeightsError(f"{INDEX}: {name} is not in {part}")

    def __getitem__(self, name: str) -> Array:
        """Return a tensor as fp32.

        Raises:
            WeightsError: the tensor is not of floating point numbers, or has one that is not
                finite.
        """
        path = self._files[name]
        with _opened(path) as file:
            kind = file.get_slice(name).get_dtype()
            if kind not in FLOATS:
                raise WeightsError(
                    f"{path.name}: {name} is {kind}; quantised weights cannot be exported, save"
                    " the model in floating point"
                )
            tensor = np.asarray(file.get_tensor(name)).astype(np.float32)
        if not np.isfinite(tensor).all():
            raise WeightsError(f"{path.name}: {name} has a number that is not finite")
        return tensor

    def __iter__(self) -> Iterator[str]:
        """Return the names."""
        return iter(self._files)

    def __len__(self) -> int:
        """Return the number of tensors."""
        return len(self._files)


def weight_files(directory: Path) -> list[Path]:
    """Return the files of a directory's weights, in the order of their names.

    Raises:
        WeightsError: there are no readable weights.
    """
    if (directory / WEIGHTS).is_file():
        return [directory / WEIGHTS]
    parts = sorted(set(_index(directory).values()))
    if parts:
        return [_within(directory, part) for part in parts]
    for name in PICKLES:
        if (directory / name).is_file():
            raise WeightsError(
                f"{name}: only safetensors are read; save the model again with"
                " save_pretrained(directory, safe_serialization=True)"
            )
    raise WeightsError(f"{WEIGHTS}: is missing, and there is no {INDEX}")


def _index(directory: Path) -> dict[str, str]:
    if (directory / WEIGHTS).is_file():
        return {}
    parts = read_object(directory / INDEX).get("weight_map", {})
    if not isinstance(parts, dict) or not all(isinstance(each, str) for each in parts.values()):
        raise WeightsError(f"{INDEX}: weight_map is no map of names to files")
    return parts


def _within(directory: Path, name: str) -> Path:
    if Path(name).name != name or not (directory / name).is_file():
        raise WeightsError(f"{INDEX}: names {name}, which is no file of the directory")
    return directory / name


def _opened(path: Path) -> Any:
    try:
        return safe_open(path, "np")
    except (SafetensorError, OSError) as error:
        with path.open("rb") as file:
            pointer = file.read(len(LFS_POINTER)) == LFS_POINTER
        reason = "is a git-lfs pointer; run git lfs pull" if pointer else _first_line(error)
        raise WeightsError(f"{path.name}: {reason}") from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
