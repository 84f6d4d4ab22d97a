"""Adapters: what fine-tuning changed in public weights, small enough to keep beside the code.

A kernel is kept as its int8 difference to the base, one fp32 scale a row of its last axis; biases,
norms and the head are kept whole in fp32. Frozen variables are not kept. What is exported is the
base plus the difference as read back, never the model that stood in memory after the training.

    adapter.safetensors    NAME.delta int8 and NAME.scale fp32, or NAME fp32
    adapter.json           the recipe, its seed, the measured figures, the base's digest
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from semserve_export.errors import AdapterError

TENSORS = "adapter.safetensors"
RECORD = "adapter.json"
HEAD = "logits/"
LARGEST_INT8 = 127

Arrays = dict[str, npt.NDArray[Any]]


def save_adapter(directory: Path, tuned: Arrays, base: Arrays) -> None:
    """Write the adapter of `tuned` over `base` (both from `trainable_values`) into a directory."""
    tensors: Arrays = {}
    for name, value in tuned.items():
        if name.endswith("/kernel") and not name.startswith(HEAD):
            tensors[f"{name}.delta"], tensors[f"{name}.scale"] = quantize(value - base[name])
        else:
            tensors[name] = value
    directory.mkdir(parents=True, exist_ok=True)
    save_file(tensors, directory / TENSORS)


def write_record(directory: Path, record: Mapping[str, Any]) -> None:
    """Write what is to be known about the adapter beside it."""
    text = json.dumps(dict(record), indent=2, ensure_ascii=False, allow_nan=False)
    (directory / RECORD).write_text(text + "\n", encoding="utf-8")


def read_record(directory: Path) -> dict[str, Any]:
    """Read what was recorded beside the adapter.

    Raises:
        AdapterError: there is no adapter there.
    """
    try:
        record: dict[str, Any] = json.loads((directory / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AdapterError(f"{directory}: no adapter to read ({error})") from error
    return record


def apply_adapter(directory: Path, model: keras.Model) -> None:
    """Turn a model on base weights, with its frozen layers frozen, into the fine-tuned one.

    Raises:
        AdapterError: the file is damaged, or its tensors are not the model's trainable variables.
    """
    try:
        tensors = load_file(directory / TENSORS)
    except (OSError, SafetensorError) as error:
        raise AdapterError(f"{directory / TENSORS}: cannot be read ({error})") from error
    tuned: Arrays = {}
    for name, base in trainable_values(model).items():
        try:
            if name in tensors:
                value = tensors.pop(name)
            else:
                value = base + dequantize(
                    tensors.pop(f"{name}.delta"), tensors.pop(f"{name}.scale")
                )
        except KeyError as error:
            raise AdapterError(f"{directory / TENSORS}: lacks {error}") from error
        if value.shape != base.shape:
            raise AdapterError(f"{directory / TENSORS}: {name} is {value.shape}, not {base.shape}")
        tuned[name] = value
    if tensors:
        raise AdapterError(f"{directory / TENSORS}: {min(tensors)} is no variable of the model")
    assign_values(model, tuned)


def trainable_values(model: keras.Model) -> Arrays:
    """Copy the model's trainable variables, by name, as fp32 arrays."""
    return {variable.path: np.array(variable.numpy()) for variable in model.trainable_variables}


def assign_values(model: keras.Model, values: Arrays) -> None:
    """Put back what `trainable_values` copied."""
    for variable in model.trainable_variables:
        variable.assign(values[variable.path])


def quantize(
    delta: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Round to int8 with one scale a row of the last axis; a row of zeros gets the scale 1."""
    largest = np.abs(delta).max(axis=-1, keepdims=True)
    scale = np.where(largest > 0, largest / LARGEST_INT8, 1).astype(np.float32)
    return np.rint(delta / scale).astype(np.int8), scale


def dequantize(
    delta: npt.NDArray[np.int8], scale: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Undo `quantize`, to half a scale."""
    return delta.astype(np.float32) * scale
