"""Adapters: the changes of fine-tuning to public weights, small enough for the repository.

A kernel or table of the backbone is stored as its int8 difference from the base, with one fp32
scale for each row of its last axis. A difference of low rank, such as from LoRA, is stored as its
two factors in fp16 if they are smaller. Biases, norms and the head are stored in fp32. Weights that
were not trained are not stored. The exported model is the base plus the difference as read back,
not the model in memory after the training.

    adapter.safetensors    NAME.delta int8 and NAME.scale fp32; NAME.left and NAME.right fp16, whose
                           product is the difference; or NAME fp32
    adapter.json           the start, the plan, the measured figures, the base's digest
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from semserve_export.errors import AdapterError, WeightsError
from semserve_export.models.keras_internals import kernel_path, merged_kernel, sublayers
from semserve_export.untrusted.json_file import read_json
from semserve_export.untrusted.safetensors_file import check_safetensors

TENSORS = "adapter.safetensors"
RECORD = "adapter.json"
LARGEST_RECORD = 4 << 20  # bytes
LARGEST_INT8 = 127
LEAST_SHARE = 1e-4  # relative to the largest singular value
PARTS = ("delta", "scale", "left", "right")

Arrays = dict[str, npt.NDArray[Any]]


def save_adapter(directory: Path, tuned: Arrays, base: Arrays, *, low_rank: bool = False) -> None:
    """Write the adapter of `tuned` (from `tuned_values`) over `base` (from `base_values`).

    Args:
        directory: the directory of the adapter.
        tuned: the values to store.
        base: the
            values before the training.
        low_rank: whether to store differences as products of two small factors if possible.
    """
    tensors: Arrays = {}
    for name, value in tuned.items():
        if name not in base or value.ndim < 2 or name.endswith("/bias"):  # noqa: PLR2004 - a vector
            tensors[name] = value
            continue
        delta = value - base[name]
        factors = factorize(delta) if low_rank else None
        if factors and sum(factor.nbytes for factor in factors) < delta.size:
            tensors[f"{name}.left"], tensors[f"{name}.right"] = factors
        else:
            tensors[f"{name}.delta"], tensors[f"{name}.scale"] = quantize(delta)
    directory.mkdir(parents=True, exist_ok=True)
    save_file(tensors, directory / TENSORS)


def write_record(directory: Path, record: Mapping[str, Any]) -> None:
    """Write the record of the adapter beside it."""
    text = json.dumps(dict(record), indent=2, ensure_ascii=False, allow_nan=False)
    (directory / RECORD).write_text(text + "\n", encoding="utf-8")


def read_record(directory: Path) -> dict[str, Any]:
    """Read the record of the adapter.

    Raises:
        AdapterError: there is no adapter there.
    """
    try:
        record = read_json(directory / RECORD, LARGEST_RECORD)
    except WeightsError as error:
        raise AdapterError(f"{directory}: no adapter to read ({error})") from error
    labels = record.get("labels", [])
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise AdapterError(f"{directory}: the labels in {RECORD} are no list of texts")
    return record


def apply_adapter(directory: Path, model: keras.Model) -> None:
    """Apply an adapter to a model with the base weights.

    Raises:
        AdapterError: the file is damaged, lacks the head, or does not belong to the model.
    """
    assign_values(model, read_adapter(directory, model))


def read_adapter(directory: Path, model: keras.Model) -> Arrays:
    """Return the values that `apply_adapter` assigns to a model with the base weights.

    Raises:
        AdapterError: as `apply_adapter`.
    """
    path = directory / TENSORS
    tensors = read_tensors(path)
    variables, base = _by_name(model.weights), base_values(model)
    values: Arrays = {}
    for name in sorted({_variable_of(stored) for stored in tensors}):
        if name not in variables:
            raise AdapterError(f"{path}: {name} is no variable of the model")
        if name in tensors:
            value = tensors[name]
        elif f"{name}.delta" in tensors and f"{name}.scale" in tensors and name in base:
            value = dequantize(tensors[f"{name}.delta"], tensors[f"{name}.scale"])
        elif f"{name}.left" in tensors and f"{name}.right" in tensors and name in base:
            left, right = tensors[f"{name}.left"], tensors[f"{name}.right"]
            if left.shape[-1:] != right.shape[:1]:
                raise AdapterError(f"{path}: the factors of {name} do not fit each other")
            value = multiply(left, right)
        else:
            raise AdapterError(f"{path}: lacks the difference or the scale of {name}, or a factor")
        if value.shape != variables[name].shape:
            raise AdapterError(
                f"{path}: {name} is {value.shape}, not {tuple(variables[name].shape)}"
            )
        values[name] = value if name in tensors else base[name] + value
    if missing := sorted(variables.keys() - base.keys() - values.keys()):
        raise AdapterError(f"{path}: lacks {missing[0]}")
    return values


def read_tensors(path: Path) -> Arrays:
    """Check the header of a safetensors file, and read its finite numbers.

    Raises:
        AdapterError: it is damaged, or a number is not finite.
    """
    try:
        check_safetensors(path)
        tensors = load_file(path)
    except (OSError, SafetensorError, WeightsError) as error:
        raise AdapterError(f"{path}: cannot be read ({error})") from error
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise AdapterError(f"{path}: {name} holds numbers that are not finite")
    return tensors


def mean_of(parts: Sequence[Arrays]) -> Arrays:
    """Return the mean of several models' values; all have the same names."""
    return {name: np.mean([part[name] for part in parts], axis=0) for name in parts[0]}


def base_values(model: keras.Model) -> Arrays:
    """Copy the backbone's variables, by name, as fp32 arrays: the public weights."""
    return _copy(_by_name(model.backbone.weights))


def tuned_values(model: keras.Model) -> Arrays:
    """Copy the trained variables, by name, as fp32 arrays; LoRA updates are merged into kernels."""
    merged = {
        kernel_path(layer): layer
        for layer in sublayers(model)
        if getattr(layer, "lora_enabled", False)
    }
    values = _copy(
        {
            name: variable
            for name, variable in _by_name(model.trainable_variables).items()
            if "/lora_kernel_" not in name
        }
    )
    return values | {name: merged_kernel(layer) for name, layer in merged.items()}


def assign_values(model: keras.Model, values: Arrays) -> None:
    """Assign copied values to their model, or to another model with the same names."""
    variables = _by_name(model.weights)
    for name, value in values.items():
        variables[name].assign(value)


def _by_name(variables: Sequence[Any]) -> dict[str, Any]:
    named = {variable.path: variable for variable in variables}
    if len(named) < len(variables):
        raise AdapterError("the model has two variables of one name, so none can be kept by name")
    return named


def _copy(variables: Mapping[str, Any]) -> Arrays:
    return {name: np.array(variable.numpy(), np.float32) for name, variable in variables.items()}


def _variable_of(stored: str) -> str:
    """Return the name of the variable of a stored tensor."""
    name, dot, part = stored.rpartition(".")
    return name if dot and part in PARTS else stored


def has_factors(directory: Path) -> bool:
    """Return whether an adapter stores differences as factors.

    Raises:
        AdapterError: there is no adapter there.
    """
    try:
        with safe_open(directory / TENSORS, "np") as file:
            names = file.keys()
            return any(name.endswith(".left") for name in names)
    except (OSError, SafetensorError) as error:
        raise AdapterError(f"{directory / TENSORS}: cannot be read ({error})") from error


def factorize(
    delta: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.float16]]:
    """Return factors whose product is the difference, in the precision of fp16.

    They are [..., rank] and [rank, outputs] for a difference [..., outputs]. Singular values below
    `LEAST_SHARE` of the largest are dropped, because they are rounding errors of fp32.
    """
    rows = delta.reshape(-1, delta.shape[-1])
    left, sizes, right = np.linalg.svd(rows, full_matrices=False)
    rank = max(1, int((sizes > LEAST_SHARE * sizes[0]).sum()))
    roots = np.sqrt(sizes[:rank])
    factors = (left[:, :rank] * roots, roots[:, None] * right[:rank])
    return (
        factors[0].reshape(*delta.shape[:-1], rank).astype(np.float16),
        factors[1].astype(np.float16),
    )


def multiply(
    left: npt.NDArray[np.float16], right: npt.NDArray[np.float16]
) -> npt.NDArray[np.float32]:
    """Undo `factorize`."""
    product: npt.NDArray[np.float32] = left.astype(np.float32) @ right.astype(np.float32)
    return product


def quantize(
    delta: npt.NDArray[np.float32],
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Round to int8 with one scale for each row of the last axis; 1 for a row of zeros."""
    largest = np.abs(delta).max(axis=-1, keepdims=True)
    scale = np.where(largest > 0, largest / LARGEST_INT8, 1).astype(np.float32)
    return np.rint(delta / scale).astype(np.int8), scale


def dequantize(
    delta: npt.NDArray[np.int8], scale: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Undo `quantize`; the error is at most half a scale."""
    return delta.astype(np.float32) * scale
