"""The fused graph: attention is one node of a layer, where tf2onnx makes fifty."""

import numpy as np
import numpy.typing as npt
import onnx

from semserve_export.bert_graph import (
    PADDING_MASK,
    build_graph,
    by_text,
    by_token,
    gelu,
    skip_norm,
)
from semserve_export.bert_weights import Bert, Dense, Layer
from semserve_export.graph_builder import GraphBuilder
from semserve_export.spec import ModelSpec

MASKED = -1e30
"""What is added to the score of a padded token: the sum keeps nothing of the score, so that a row
that is all padding attends to each alike, as in Keras. With ONNX Runtime's own -10000 it does not;
fp16 keeps that, since this would be infinite there."""


def fused_graph(
    bert: Bert, spec: ModelSpec, precision: npt.DTypeLike = np.float32
) -> onnx.ModelProto:
    """Build the graph, its layers in fp32 or fp16; inputs, output and head are the same in both."""
    return build_graph(GraphBuilder(precision), bert, spec, _layer)


def _layer(graph: GraphBuilder, bert: Bert, place: int, x: str) -> str:
    layer = bert.layers[place]
    context = _attention(graph, bert, layer, x)
    projected = _product(graph, context, layer.attention_output)
    middle = skip_norm(graph, bert, projected, x, layer.attention_norm, layer.attention_output.bias)
    inner = gelu(graph, bert, _product(graph, middle, layer.up), layer.up.bias)
    down = _product(graph, inner, layer.down)
    return skip_norm(graph, bert, down, middle, layer.norm, layer.down.bias)


def _attention(graph: GraphBuilder, bert: Bert, layer: Layer, x: str) -> str:
    merged = Dense.side_by_side(layer.query, layer.key, layer.value)
    weights = (graph.weight(merged.kernel), graph.weight(merged.bias))
    masked = {"mask_filter_value": MASKED} if graph.precision == np.float32 else {}
    texts = by_text(graph, bert, x)
    context = graph.fused(
        "Attention", texts, *weights, PADDING_MASK, num_heads=bert.heads, **masked
    )
    return by_token(graph, bert, context)


def _product(graph: GraphBuilder, x: str, dense: Dense) -> str:
    return graph.node("MatMul", x, graph.weight(dense.kernel))
