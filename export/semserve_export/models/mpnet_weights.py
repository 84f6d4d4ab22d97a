"""Loads MPNet's published files into our backbone."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from semserve_export.errors import WeightsError
from semserve_export.model_spec import Activation
from semserve_export.models.mpnet import MPNetBackbone

FIRST_POSITION = 2  # row of a text's first token in the table; the rows before it belong to padding

Tensor = Callable[[str], Any]


def load_mpnet(
    directory: Path, activation: Activation, *, dropout: float = 0, precision: str = "float32"
) -> MPNetBackbone:
    """Build the backbone from `config.json` and `model.safetensors`, as Hugging Face names them.

    Raises:
        WeightsError: a file lacks what an MPNet has, or a tensor has another shape.
    """
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    try:
        backbone = MPNetBackbone(
            vocabulary_size=config["vocab_size"],
            num_layers=config["num_hidden_layers"],
            num_heads=config["num_attention_heads"],
            hidden_dim=config["hidden_size"],
            intermediate_dim=config["intermediate_size"],
            max_sequence_length=config["max_position_embeddings"] - FIRST_POSITION,
            relative_buckets=config["relative_attention_num_buckets"],
            epsilon=config["layer_norm_eps"],
            activation=activation,
            dropout=dropout,
            dtype=precision,
        )
    except KeyError as error:
        raise WeightsError(f"{directory / 'config.json'}: is no MPNet's: lacks {error}") from error
    with safe_open(directory / "model.safetensors", "np") as file:
        names = set(file.keys())
        prefix = "mpnet." if "mpnet.embeddings.word_embeddings.weight" in names else ""

        def tensor(name: str) -> Any:
            if f"{prefix}{name}" not in names:
                raise WeightsError(f"{directory / 'model.safetensors'}: lacks {prefix}{name}")
            return file.get_tensor(f"{prefix}{name}")

        for variable, value in _values(backbone, tensor):
            if tuple(variable.shape) != value.shape:
                raise WeightsError(
                    f"{directory / 'model.safetensors'}: {variable.path} needs"
                    f" {tuple(variable.shape)}, the file has {value.shape}"
                )
            variable.assign(value)
    return backbone


def _values(backbone: MPNetBackbone, tensor: Tensor) -> Iterator[tuple[Any, Any]]:
    """Yield each variable of the backbone with its value in the file."""
    yield backbone.token_embedding.embeddings, tensor("embeddings.word_embeddings.weight")
    positions = tensor("embeddings.position_embeddings.weight")[FIRST_POSITION:]
    yield backbone.embeddings.position_embedding.position_embeddings, positions
    yield from _norm(backbone.embeddings_layer_norm, "embeddings.LayerNorm", tensor)
    bias = tensor("encoder.relative_attention_bias.weight")
    yield backbone.relative_position_bias.embeddings, bias
    for place, layer in enumerate(backbone.transformer_layers):
        name = f"encoder.layer.{place}"
        dense = {
            layer.query: "attention.attn.q",
            layer.key: "attention.attn.k",
            layer.value: "attention.attn.v",
            layer.attention_output: "attention.attn.o",
            layer.up: "intermediate.dense",
            layer.down: "output.dense",
        }
        for part, path in dense.items():
            # A linear layer of PyTorch stores its weight as [outputs, inputs].
            yield part.kernel, np.transpose(tensor(f"{name}.{path}.weight"))
            yield part.bias, tensor(f"{name}.{path}.bias")
        yield from _norm(layer.attention_norm, f"{name}.attention.LayerNorm", tensor)
        yield from _norm(layer.norm, f"{name}.output.LayerNorm", tensor)


def _norm(layer: Any, name: str, tensor: Tensor) -> Iterator[tuple[Any, Any]]:
    yield layer.gamma, tensor(f"{name}.weight")
    yield layer.beta, tensor(f"{name}.bias")
