"""The numbers of a BERT, by what they are for: what a graph is built from without Keras."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from semserve_export.spec import Activation, Pooling

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Dense:
    """`x @ kernel + bias`: kernel fp32 [inputs, outputs], bias fp32 [outputs]."""

    kernel: Array
    bias: Array

    @classmethod
    def side_by_side(cls, *parts: Self) -> Self:
        """Join products of one input into one, their outputs in the given order."""
        kernels, biases = [part.kernel for part in parts], [part.bias for part in parts]
        return cls(np.concatenate(kernels, axis=1), np.concatenate(biases))


@dataclass(frozen=True, slots=True)
class Norm:
    """Layer normalisation: both fp32 [hidden]."""

    gamma: Array
    beta: Array


@dataclass(frozen=True, slots=True)
class Layer:
    """One transformer layer, normalised after each of its two halves."""

    query: Dense
    key: Dense
    value: Dense
    attention_output: Dense
    attention_norm: Norm
    up: Dense
    down: Dense
    norm: Norm


@dataclass(frozen=True, slots=True, kw_only=True)
class Embeddings:
    """The three tables, each fp32 [entries, hidden], and the norm of their sum."""

    tokens: Array
    positions: Array
    segments: Array
    norm: Norm


@dataclass(frozen=True, slots=True)
class Pool:
    """How an embedder makes one vector of a text's token vectors."""

    pooling: Pooling
    normalized: bool
    pooler: Dense | None = None  # the layer behind the pooling `pooled`


@dataclass(frozen=True, slots=True)
class Classifier:
    """Two dense layers on the first token, tanh between them: logits come out."""

    pooler: Dense
    logits: Dense


@dataclass(frozen=True, slots=True, kw_only=True)
class Bert:
    """A whole model."""

    embeddings: Embeddings
    layers: tuple[Layer, ...]
    head: Pool | Classifier
    heads: int  # of attention
    epsilon: float  # of every layer normalisation
    activation: Activation

    @property
    def hidden(self) -> int:
        """Width of a token's vector."""
        return int(self.embeddings.tokens.shape[1])
