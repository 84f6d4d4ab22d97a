"""The modules of sentence-transformers that change a text's vector: Dense, LayerNorm, Normalize."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from semserve_export.encoder_weights import (
    Array,
    Dense,
    Norm,
    Projection,
    Step,
    UnitLength,
    VectorNorm,
)
from semserve_export.errors import WeightsError
from semserve_export.files.model_files import Tensors, read_object

ACTIVATIONS = {
    "torch.nn.modules.linear.Identity": "linear",
    "torch.nn.modules.activation.Tanh": "tanh",
    "torch.nn.modules.activation.ReLU": "relu",
    "torch.nn.modules.activation.Sigmoid": "sigmoid",
    "torch.nn.modules.activation.GELU": "gelu",
    "torch.nn.modules.activation.SiLU": "silu",
}
TORCH_NORM_EPSILON = 1e-5
"""Epsilon of torch.nn.LayerNorm, which sentence-transformers uses."""
DROPOUT = "Dropout"
"""Applies only in training."""


def read_steps(kind: str, directory: Path) -> list[Step]:
    """Read one module.

    Raises:
        WeightsError: a setting is not supported; the message names the file and the key.
    """
    if kind == DROPOUT:
        return []
    config = read_object(directory / "config.json")
    place = f"{directory.name}/config.json"
    for key in ("module_input_name", "module_output_name"):
        if config.get(key) not in (None, "sentence_embedding"):
            raise WeightsError(f"{place}: {key} {config[key]!r} is not known")
    if kind == "Normalize":
        return [UnitLength()]
    if kind == "LayerNorm":
        tensors = _tensors(directory, {"norm.weight", "norm.bias"})
        return [VectorNorm(Norm(tensors["norm.weight"], tensors["norm.bias"]), TORCH_NORM_EPSILON)]
    return [_dense(config, place, directory)]


def _dense(config: Mapping[str, Any], place: str, directory: Path) -> Projection:
    known = {"in_features", "out_features", "bias", "activation_function"}
    names = {"module_input_name", "module_output_name"}
    for key, value in config.items():
        if key not in known | names and value not in (None, False):
            raise WeightsError(f"{place}: {key} {value!r} is not known")
    activation = config.get("activation_function", "torch.nn.modules.activation.Tanh")
    if activation not in ACTIVATIONS:
        raise WeightsError(
            f"{place}: activation_function {activation!r} cannot be exported; there are"
            f" {', '.join(ACTIVATIONS)}"
        )
    biased = config.get("bias", True)
    wanted = {"linear.weight", "linear.bias"} if biased else {"linear.weight"}
    tensors = _tensors(directory, wanted)
    kernel = np.ascontiguousarray(tensors["linear.weight"].T)
    shape = (config.get("in_features"), config.get("out_features"))
    bias = tensors["linear.bias"] if biased else np.zeros(kernel.shape[-1], np.float32)
    if kernel.shape != shape or bias.shape != kernel.shape[1:]:
        raise WeightsError(f"{place}: in_features and out_features are {shape}, the weights differ")
    return Projection(Dense(kernel, bias), ACTIVATIONS[activation])  # type: ignore[arg-type]  # of the table above


def _tensors(directory: Path, wanted: set[str]) -> dict[str, Array]:
    try:
        tensors = dict(Tensors(directory))
    except WeightsError as error:
        raise WeightsError(f"{directory.name}/{error}") from error
    if set(tensors) != wanted:
        raise WeightsError(
            f"{directory.name}: the weights are {', '.join(sorted(tensors))}, and should be"
            f" {', '.join(sorted(wanted))}"
        )
    return tensors
