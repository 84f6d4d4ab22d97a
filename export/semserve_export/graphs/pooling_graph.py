"""The head of an embedder as ONNX nodes: from token vectors to one fp32 vector for each text."""

import math
from collections.abc import Callable

import numpy as np
import onnx

from semserve_export.encoder_weights import Dense, Pool, Projection, Step, UnitLength, VectorNorm
from semserve_export.graphs.graph_builder import GraphBuilder
from semserve_export.graphs.unpadding import PADDING_MASK

LEAST_COUNT = 1e-9
"""Smallest divisor of a mean, as in sentence-transformers."""
LEAST_LENGTH = 1e-12
"""Smallest divisor of L2."""


def add_vector(graph: GraphBuilder, head: Pool, x: str) -> str:
    """Add the poolings, the steps after them and L2: fp32 [batch, width].

    Args:
        graph: the graph to add to.
        head: the embedder's head, without a pooler.
        x: fp32 [batch, hidden] where the head is `cls` alone, else [batch, sequence, hidden].
    """
    if head.modes == ("cls",):
        vector = x
    else:
        vectors = [POOLINGS[mode](graph, x) for mode in head.modes]
        vector = vectors[0] if len(vectors) == 1 else graph.node("Concat", *vectors, axis=1)
    return add_steps(graph, head, vector)


def add_steps(graph: GraphBuilder, head: Pool, vector: str) -> str:
    """Add the steps after the pooling: dense layers, norms and L2."""
    for step in head.steps:
        vector = _step(graph, step, vector)
    return _unit_length(graph, vector) if head.normalized else vector


def apply_activation(graph: GraphBuilder, name: str, x: str) -> str:
    """Add an activation in operators of standard ONNX.

    Args:
        graph: what the nodes are added to.
        name: linear, tanh, relu, sigmoid, silu, or one of both forms of GELU: `gelu` and `erf` are
            by the error function, `gelu_tanh` is its approximation by tanh.
        x: the name of its input.
    """
    if name == "linear":
        return x
    if name in PLAIN:
        return graph.node(PLAIN[name], x)
    if name == "silu":
        return graph.node("Mul", x, graph.node("Sigmoid", x))
    if name == "gelu_tanh":
        cube = graph.node("Mul", graph.node("Mul", x, x), x)
        inner = graph.node("Add", x, graph.node("Mul", cube, number(graph, 0.044715)))
        scaled = graph.node("Mul", inner, number(graph, math.sqrt(2 / math.pi)))
        share = graph.node("Tanh", scaled)
    else:
        share = graph.node("Erf", graph.node("Mul", x, number(graph, math.sqrt(0.5))))
    half = graph.node("Mul", x, number(graph, 0.5))
    return graph.node("Mul", half, graph.node("Add", share, number(graph, 1)))


PLAIN = {"tanh": "Tanh", "relu": "Relu", "sigmoid": "Sigmoid"}


def add_dense(graph: GraphBuilder, x: str, dense: Dense) -> str:
    """Add `x @ kernel + bias` in fp32, of x [batch, inputs]."""
    weights = (graph.weight(array, np.float32) for array in (dense.kernel, dense.bias))
    return graph.node("Gemm", x, *weights)


def number(graph: GraphBuilder, value: float) -> str:
    """Add an fp32 constant, whatever the precision of the graph."""
    return graph.weight(np.array(value, np.float32), np.float32)


def _step(graph: GraphBuilder, step: Step, vector: str) -> str:
    if isinstance(step, Projection):
        return apply_activation(graph, step.activation, add_dense(graph, vector, step.dense))
    if isinstance(step, VectorNorm):
        weights = (graph.weight(each, np.float32) for each in (step.norm.gamma, step.norm.beta))
        return graph.node("LayerNormalization", vector, *weights, axis=-1, epsilon=step.epsilon)
    assert isinstance(step, UnitLength)  # noqa: S101 - mypy's exhaustiveness
    return _unit_length(graph, vector)


def _unit_length(graph: GraphBuilder, vector: str) -> str:
    length = graph.node("ReduceL2", vector, axes=[1], keepdims=1)
    return graph.node("Div", vector, graph.node("Max", length, number(graph, LEAST_LENGTH)))


def _first(graph: GraphBuilder, x: str) -> str:
    return graph.node("Gather", x, graph.weight(np.array(0)), axis=1)


def _mean(graph: GraphBuilder, x: str) -> str:
    return _weighted_mean(graph, x, _mask(graph))


def _mean_sqrt_len(graph: GraphBuilder, x: str) -> str:
    """Divide the sum by the square root of the number of tokens."""
    count = graph.node("Max", _sum(graph, _mask(graph)), number(graph, LEAST_COUNT))
    return graph.node("Div", _sum(graph, _masked(graph, x)), graph.node("Sqrt", count))


def _position_weighted_mean(graph: GraphBuilder, x: str) -> str:
    """Weight a token by its position, counted from 1 (SGPT, arXiv 2202.08904)."""
    mask = _mask(graph)
    return _weighted_mean(graph, x, graph.node("Mul", _places(graph), mask))


def _last(graph: GraphBuilder, x: str) -> str:
    """Select the last token that is not padding."""
    mask = _mask(graph)
    count = graph.node("ReduceSum", mask, graph.weight(np.array([1], np.int64)), keepdims=1)
    is_last = graph.node("Cast", graph.node("Equal", _places(graph), count), to=FLOAT)
    return _sum(graph, graph.node("Mul", x, graph.node("Mul", is_last, mask)))


def _maximum(graph: GraphBuilder, x: str) -> str:
    mask = graph.node("Cast", _mask(graph), to=onnx.TensorProto.BOOL)
    real = graph.node("Where", mask, x, number(graph, -np.inf))
    return graph.node("ReduceMax", real, axes=[1], keepdims=0)


POOLINGS: dict[str, Callable[[GraphBuilder, str], str]] = {
    "cls": _first,
    "max": _maximum,
    "mean": _mean,
    "mean_sqrt_len": _mean_sqrt_len,
    "weightedmean": _position_weighted_mean,
    "last": _last,
}
FLOAT = onnx.TensorProto.FLOAT


def _weighted_mean(graph: GraphBuilder, x: str, weights: str) -> str:
    total = _sum(graph, graph.node("Mul", x, weights))
    return graph.node(
        "Div", total, graph.node("Max", _sum(graph, weights), number(graph, LEAST_COUNT))
    )


def _masked(graph: GraphBuilder, x: str) -> str:
    return graph.node("Mul", x, _mask(graph))


def _sum(graph: GraphBuilder, x: str) -> str:
    """Sum over the sequence: [batch, sequence, n] becomes [batch, n]."""
    return graph.node("ReduceSum", x, graph.weight(np.array([1], np.int64)), keepdims=0)


def _places(graph: GraphBuilder) -> str:
    """Add the position of each token in its text, counted from 1: fp32 [batch, sequence, 1]."""
    return graph.node("CumSum", _mask(graph), graph.weight(np.array(1, np.int64)))


def _mask(graph: GraphBuilder) -> str:
    """Add the padding mask as fp32 [batch, sequence, 1]."""
    mask = graph.node("Cast", PADDING_MASK, to=FLOAT)
    return graph.node("Unsqueeze", mask, graph.weight(np.array([2], np.int64)))
