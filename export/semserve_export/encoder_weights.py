"""The weights of an encoder such as BERT, named by their purpose.

A graph is built from them without Keras, for any family: weights that a family lacks are None.
"""

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import numpy.typing as npt

from semserve_export.model_spec import Activation

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Dense:
    """`x @ kernel + bias`: kernel fp32 [inputs, outputs], bias fp32 [outputs]."""

    kernel: Array
    bias: Array

    @classmethod
    def side_by_side(cls, *parts: Self) -> Self:
        """Concatenate matrix products of the same input, with their outputs in the given order."""
        kernels, biases = [part.kernel for part in parts], [part.bias for part in parts]
        return cls(np.concatenate(kernels, axis=1), np.concatenate(biases))


@dataclass(frozen=True, slots=True)
class Norm:
    """Layer normalisation: both fp32 [hidden]."""

    gamma: Array
    beta: Array


@dataclass(frozen=True, slots=True)
class Layer:
    """One transformer layer, normalised after attention and after feed-forward."""

    query: Dense
    key: Dense
    value: Dense
    attention_output: Dense
    attention_norm: Norm
    up: Dense
    down: Dense
    norm: Norm


@dataclass(frozen=True, slots=True)
class Relative:
    """A table of relative positions, fp32 [entries, hidden], and the norm of its rows."""

    table: Array
    norm: Norm


@dataclass(frozen=True, slots=True, kw_only=True)
class Embeddings:
    """The tables, each fp32 [entries, width], and the norm of their sum."""

    tokens: Array
    positions: Array  # without columns if positions are relative
    segments: Array | None = None  # None if the model takes no segment ids
    relative: Relative | None = None  # of a DeBERTa
    norm: Norm
    projection: Dense | None = None  # from width to hidden, if they differ as in ALBERT


@dataclass(frozen=True, slots=True)
class Pooler:
    """A dense layer on a text's first token."""

    dense: Dense
    activation: Literal["tanh", "relu", "gelu"]


@dataclass(frozen=True, slots=True)
class Projection:
    """A dense layer on a text's vector, with its activation."""

    dense: Dense
    activation: Literal["linear", "tanh", "relu", "sigmoid", "gelu", "silu"]

    @property
    def widths(self) -> tuple[int, int]:
        """The lengths of the vectors that it takes and gives."""
        inputs, outputs = self.dense.kernel.shape
        return inputs, outputs


@dataclass(frozen=True, slots=True)
class VectorNorm:
    """Layer normalisation of a text's vector."""

    norm: Norm
    epsilon: float

    @property
    def widths(self) -> tuple[int, int]:
        """The lengths of the vectors that it takes and gives."""
        return len(self.norm.gamma), len(self.norm.gamma)


@dataclass(frozen=True, slots=True)
class UnitLength:
    """Division of a text's vector by its length (L2)."""


Step = Projection | VectorNorm | UnitLength


@dataclass(frozen=True, slots=True)
class Pool:
    """The head of an embedder: from token vectors to one vector for each text."""

    pooling: str  # a `spec.Pooling`, or several joined by +, whose vectors are concatenated
    normalized: bool  # the last step is L2
    pooler: Pooler | None = None  # the layer of the pooling `pooled`
    steps: tuple[Step, ...] = ()  # between the pooling and the last L2

    @property
    def modes(self) -> tuple[str, ...]:
        """The poolings whose vectors are concatenated."""
        return tuple(self.pooling.split("+"))

    def width(self, hidden: int) -> int:
        """Return the length of the vectors, for token vectors of length `hidden`."""
        projections = [step for step in self.steps if isinstance(step, Projection)]
        return len(projections[-1].dense.bias) if projections else len(self.modes) * hidden


@dataclass(frozen=True, slots=True)
class Classifier:
    """A second dense layer on the output of the pooler, which gives logits."""

    pooler: Pooler
    logits: Dense


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseHead:
    """The head of a masked language model, and the pooling of its logits by SPLADE.

    The vector has a weight for each entry of the vocabulary. A token's logits become
    log(1 + max(0, logit)), and those of a text's tokens are pooled (SPLADE v2, arXiv 2109.10086).
    """

    transform: Dense
    activation: Activation  # after the transform
    norm: Norm
    words: Array  # fp32 [vocabulary, width]: a logit is the product with a row
    bias: Array  # fp32 [vocabulary]
    pooling: Literal["max", "sum"] = "max"
    logarithms: Literal[1, 2] = 1
    """How often log(1 + x) is applied; twice in arXiv 2504.14839."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderWeights:
    """A whole model."""

    embeddings: Embeddings
    layers: tuple[Layer, ...]  # a layer may occur several times, as in ALBERT
    head: Pool | Classifier | SparseHead
    heads: int  # of attention
    epsilon: float  # of every layer normalisation
    activation: Activation
    relative_bias: Array | None = None
    """The relative position bias that every layer adds to its attention scores.

    fp32 [heads, 2 x positions - 1], the farthest token before first; None where there is none.
    """

    @property
    def hidden(self) -> int:
        """Width of a token's vector."""
        return len(self.layers[0].query.kernel)
