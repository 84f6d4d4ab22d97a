"""The fp16 graph, for GPUs: padded, and of the operators that have kernels of their own there.

Packing would make the device wait for the host, which must learn how many tokens are left.
"""

import numpy as np
import onnx

from semserve_export.bert_graph import (
    TOKEN_IDS,
    embeddings,
    finish,
    gelu,
    reads_first_alone,
    skip_norm,
)
from semserve_export.bert_weights import Bert, Dense, Layer
from semserve_export.graph_builder import GraphBuilder
from semserve_export.packing import PADDING_MASK
from semserve_export.spec import ModelSpec


def fp16_graph(bert: Bert, spec: ModelSpec) -> onnx.ModelProto:
    """Build the graph; inputs, output and head are those of fp32."""
    graph = GraphBuilder(np.float16)
    x = graph.node("Reshape", embeddings(graph, bert), graph.weight(np.array([-1, bert.hidden])))
    for layer in bert.layers:
        x = _layer(graph, bert, layer, x)
    x = _by_text(graph, bert, x)
    if reads_first_alone(bert.head):
        # The index is a scalar, so that its axis goes: [batch, hidden] comes out.
        x = graph.node("Gather", x, graph.weight(np.array(0)), axis=1)
    return finish(graph, bert, spec, x)


def _layer(graph: GraphBuilder, bert: Bert, layer: Layer, x: str) -> str:
    projected = _product(graph, _attention(graph, bert, layer, x), layer.attention_output)
    middle = skip_norm(graph, bert, projected, x, layer.attention_norm, layer.attention_output.bias)
    inner = gelu(graph, bert, _product(graph, middle, layer.up), layer.up.bias)
    down = _product(graph, inner, layer.down)
    return skip_norm(graph, bert, down, middle, layer.norm, layer.down.bias)


def _attention(graph: GraphBuilder, bert: Bert, layer: Layer, x: str) -> str:
    merged = Dense.side_by_side(layer.query, layer.key, layer.value)
    weights = (graph.weight(merged.kernel), graph.weight(merged.bias))
    texts = _by_text(graph, bert, x)
    context = graph.fused("Attention", texts, *weights, PADDING_MASK, num_heads=bert.heads)
    return graph.node("Reshape", context, graph.weight(np.array([-1, bert.hidden])))


def _by_text(graph: GraphBuilder, bert: Bert, x: str) -> str:
    """Go from [slots, hidden] to [batch, sequence, hidden]; nothing is copied."""
    hidden = graph.weight(np.array([bert.hidden]))
    shape = graph.node("Concat", graph.node("Shape", TOKEN_IDS), hidden, axis=0)
    return graph.node("Reshape", x, shape)


def _product(graph: GraphBuilder, x: str, dense: Dense) -> str:
    return graph.node("MatMul", x, graph.weight(dense.kernel))
