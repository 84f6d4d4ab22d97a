"""Attention of packed tokens, in standard ONNX operators except for one.

ONNX Runtime's own operator for it, MultiHeadAttention, with a padding mask takes 1.2 times as long
for 14 tokens and twice as long for 128 (1.31, one thread, 384 wide). It would also copy tensors
that are already split into heads.
"""

from collections.abc import Callable

import numpy as np
import onnx

from semserve_export.encoder_weights import Array, Dense, EncoderWeights, Layer
from semserve_export.graphs.graph_builder import GraphBuilder
from semserve_export.graphs.unpadding import PADDING_MASK, pack_heads, unpack_heads

Project = Callable[[str, Dense], str]
"""Adds `rows @ kernel + bias`."""

MASKED = -1e30
"""Number that is added to the attention score of a padded token; it is large enough to hide the
score."""


def attend(
    graph: GraphBuilder,
    encoder: EncoderWeights,
    layer: Layer,
    queried: str,
    tokens: str,
    project: Project,
) -> str:
    """Add a layer's attention, before its output projection: [queried tokens, hidden].

    Args:
        graph: the graph to add to.
        encoder: the model.
        layer: the layer.
        queried: [queried tokens, hidden] of the tokens that attend: all, or the first of each text.
        tokens: [tokens, hidden] of all tokens, which are attended to.
        project: the variant's way to multiply.
    """
    heads, size = encoder.heads, encoder.hidden // encoder.heads
    query = _scaled(layer.query, size)
    if queried == tokens:
        rows, parts = project(tokens, Dense.side_by_side(query, layer.key, layer.value)), 3
        queries = unpack_heads(graph, rows, heads, size, part=0, parts=parts)
    else:
        rows, parts = project(tokens, Dense.side_by_side(layer.key, layer.value)), 2
        by_head = graph.weight(np.array([-1, heads, 1, size], np.int64))
        queries = graph.node("Reshape", project(queried, query), by_head)
    keys = unpack_heads(graph, rows, heads, size, part=parts - 2, parts=parts)
    values = unpack_heads(graph, rows, heads, size, part=parts - 1, parts=parts)
    products = graph.fused("FusedMatMul", queries, keys, transB=1)
    added = _added_to_scores(graph, encoder, first_only=queried != tokens)
    scores = graph.node("Add", products, added)
    context = graph.node("MatMul", graph.node("Softmax", scores, axis=-1), values)
    if queried == tokens:
        return pack_heads(graph, context, heads, size)
    return graph.node("Reshape", context, graph.weight(np.array([-1, encoder.hidden], np.int64)))


def _scaled(query: Dense, size: int) -> Dense:
    """Scale the weights of the queries by 1 / sqrt(head size), so that scores need no scaling."""
    factor = np.float32(1 / np.sqrt(size))
    return Dense(query.kernel * factor, query.bias * factor)


def position_bias(graph: GraphBuilder, bias: Array) -> str:
    """Add a position bias for the length of the batch: [heads, sequence, sequence].

    Args:
        graph: what it is added to; each layer adds it, and the nodes are there once.
        bias: by distance, as `EncoderWeights.relative_bias` has it.
    """
    positions = (bias.shape[1] + 1) // 2
    sequence = graph.node(
        "Gather", graph.node("Shape", PADDING_MASK), graph.weight(np.array(1, np.int64))
    )
    first, step = (graph.weight(np.array(value, np.int64)) for value in (0, 1))
    places = graph.node("Range", first, sequence, step)
    key_places = graph.node("Unsqueeze", places, graph.weight(np.array([0], np.int64)))
    query_places = graph.node("Unsqueeze", places, graph.weight(np.array([1], np.int64)))
    distances = graph.node("Sub", key_places, query_places)
    columns = graph.node("Add", distances, graph.weight(np.array(positions - 1, np.int64)))
    return graph.node("Gather", graph.weight(bias), columns, axis=1)


def _added_to_scores(graph: GraphBuilder, encoder: EncoderWeights, *, first_only: bool) -> str:
    """Add what every layer adds to its scores: the padding bias and a position bias.

    It is fp32 [batch, 1, 1, sequence], or with a position bias [batch, heads, queries, sequence],
    where `queries` is 1 if only the first token of each text attends.
    """
    padding_bias = _padding_bias(graph)
    if encoder.relative_bias is None:
        return padding_bias
    bias = position_bias(graph, encoder.relative_bias)
    if first_only:
        bias = graph.node("Gather", bias, graph.weight(np.array([0], np.int64)), axis=1)
    return graph.node("Add", padding_bias, bias)


def _padding_bias(graph: GraphBuilder) -> str:
    """Add the additive padding mask: fp32 [batch, 1, 1, sequence], 0 or `MASKED`."""
    mask = graph.node("Cast", PADDING_MASK, to=onnx.TensorProto.FLOAT)
    padded = graph.node("Sub", graph.weight(np.array(1, np.float32)), mask)
    padding_bias = graph.node("Mul", padded, graph.weight(np.array(MASKED, np.float32)))
    return graph.node("Unsqueeze", padding_bias, graph.weight(np.array([1, 2], np.int64)))
