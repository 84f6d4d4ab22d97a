"""Attention of packed tokens, in standard ONNX operators except for one.

ONNX Runtime's own operator for it, MultiHeadAttention, with a padding mask takes 1.2 times as long
for 14 tokens and twice as long for 128 (1.31, one thread, 384 wide). It would also copy tensors
that are already split into heads.
"""

from collections.abc import Callable

import numpy as np
import onnx

from semserve_export.encoder_weights import Array, Dense, Encoder, Layer
from semserve_export.graphs.graph_builder import GraphBuilder
from semserve_export.graphs.unpadding import PADDING_MASK, pack_heads, unpack_heads

Project = Callable[[str, Dense], str]
"""Adds `rows @ kernel + bias`."""

MASKED = -1e30
"""Number that is added to the attention score of a padded token; it is large enough to hide the
score."""


def attend(
    graph: GraphBuilder, encoder: Encoder, layer: Layer, asking: str, seen: str, project: Project
) -> str:
    """Add a layer's attention, before its output projection: [asking tokens, hidden].

    Args:
        graph: the graph to add to.
        encoder: the model.
        layer: the layer.
        asking: [tokens, hidden], the tokens of the queries: `seen`, or the first token of each
            text.
        seen: [tokens, hidden], all tokens, for keys and values.
        project: adds the matrix product of the variant.
    """
    heads, size = encoder.heads, encoder.hidden // encoder.heads
    query = _scaled(layer.query, size)
    if asking == seen:
        rows, parts = project(seen, Dense.side_by_side(query, layer.key, layer.value)), 3
        queries = unpack_heads(graph, rows, heads, size, part=0, parts=parts)
    else:
        rows, parts = project(seen, Dense.side_by_side(layer.key, layer.value)), 2
        by_head = graph.weight(np.array([-1, heads, 1, size], np.int64))
        queries = graph.node("Reshape", project(asking, query), by_head)
    keys = unpack_heads(graph, rows, heads, size, part=parts - 2, parts=parts)
    values = unpack_heads(graph, rows, heads, size, part=parts - 1, parts=parts)
    products = graph.fused("FusedMatMul", queries, keys, transB=1)
    added = _added_to_scores(graph, encoder, first_alone=asking != seen)
    scores = graph.node("Add", products, added)
    context = graph.node("MatMul", graph.node("Softmax", scores, axis=-1), values)
    if asking == seen:
        return pack_heads(graph, context, heads, size)
    return graph.node("Reshape", context, graph.weight(np.array([-1, encoder.hidden], np.int64)))


def _scaled(query: Dense, size: int) -> Dense:
    """Scale the weights of the queries by 1 / sqrt(head size), so that scores need no scaling."""
    factor = np.float32(1 / np.sqrt(size))
    return Dense(query.kernel * factor, query.bias * factor)


def position_bias(graph: GraphBuilder, bias: Array) -> str:
    """Add a position bias for the length of the batch: [heads, sequence, sequence].

    Args:
        graph: what it is added to; each layer asks, and the nodes are there once.
        bias: bias by distance, as in `Encoder.relative_bias`.
    """
    positions = (bias.shape[1] + 1) // 2
    sequence = graph.node(
        "Gather", graph.node("Shape", PADDING_MASK), graph.weight(np.array(1, np.int64))
    )
    first, step = (graph.weight(np.array(value, np.int64)) for value in (0, 1))
    places = graph.node("Range", first, sequence, step)
    attended = graph.node("Unsqueeze", places, graph.weight(np.array([0], np.int64)))
    attending = graph.node("Unsqueeze", places, graph.weight(np.array([1], np.int64)))
    distances = graph.node("Sub", attended, attending)
    columns = graph.node("Add", distances, graph.weight(np.array(positions - 1, np.int64)))
    return graph.node("Gather", graph.weight(bias), columns, axis=1)


def _added_to_scores(graph: GraphBuilder, encoder: Encoder, *, first_alone: bool) -> str:
    """Add the tensor that every layer adds to its scores: padding mask and position bias.

    It is fp32 [batch, 1, 1, sequence], or with a position bias [batch, heads, attending, sequence],
    where `attending` is 1 if only the first token of each text has a query.
    """
    bar = _bar(graph)
    if encoder.relative_bias is None:
        return bar
    bias = position_bias(graph, encoder.relative_bias)
    if first_alone:
        bias = graph.node("Gather", bias, graph.weight(np.array([0], np.int64)), axis=1)
    return graph.node("Add", bar, bias)


def _bar(graph: GraphBuilder) -> str:
    """Add the additive padding mask: fp32 [batch, 1, 1, sequence], 0 or `MASKED`."""
    mask = graph.node("Cast", PADDING_MASK, to=onnx.TensorProto.FLOAT)
    padded = graph.node("Sub", graph.weight(np.array(1, np.float32)), mask)
    bar = graph.node("Mul", padded, graph.weight(np.array(MASKED, np.float32)))
    return graph.node("Unsqueeze", bar, graph.weight(np.array([1, 2], np.int64)))
