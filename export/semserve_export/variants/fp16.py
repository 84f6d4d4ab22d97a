"""The padded graph for GPUs, built from fused operators that have GPU kernels in ONNX Runtime.

On a GPU, packing would make the device wait for the host, which must read the number of tokens.
Every tensor is [batch, sequence, hidden], so no node computes a shape: ONNX Runtime places shape
arithmetic on the CPU, and a CUDA graph cannot contain it.
"""

import numpy as np
import numpy.typing as npt
import onnx

from semserve_export.encoder_weights import Dense, EncoderWeights, Layer
from semserve_export.graphs.attention import position_bias
from semserve_export.graphs.encoder_graph import (
    embeddings,
    finish,
    gelu,
    project,
    reads_first_alone,
    skip_norm,
)
from semserve_export.graphs.graph_builder import GraphBuilder
from semserve_export.graphs.unpadding import PADDING_MASK
from semserve_export.model_spec import ModelSpec


def padded_graph(
    encoder: EncoderWeights, spec: ModelSpec, precision: npt.DTypeLike = np.float16
) -> onnx.ModelProto:
    """Build the graph with layers in this precision; its interface equals the portable graph's."""
    graph = GraphBuilder(precision)
    embedded, _ = embeddings(graph, encoder)
    x = project(graph, encoder, embedded)
    for layer in encoder.layers:
        x = _layer(graph, encoder, layer, x)
    if reads_first_alone(encoder.head):
        # The index is a scalar, so that its axis is removed: the result is [batch, hidden].
        x = graph.node("Gather", x, graph.weight(np.array(0)), axis=1)
    return finish(graph, encoder, spec, x)


def _layer(graph: GraphBuilder, encoder: EncoderWeights, layer: Layer, x: str) -> str:
    projected = _product(graph, _attention(graph, encoder, layer, x), layer.attention_output)
    middle = skip_norm(
        graph, encoder, projected, x, layer.attention_norm, layer.attention_output.bias
    )
    inner = gelu(graph, encoder, _product(graph, middle, layer.up), layer.up.bias)
    down = _product(graph, inner, layer.down)
    return skip_norm(graph, encoder, down, middle, layer.norm, layer.down.bias)


def _attention(graph: GraphBuilder, encoder: EncoderWeights, layer: Layer, x: str) -> str:
    merged = Dense.side_by_side(layer.query, layer.key, layer.value)
    weights = (graph.weight(merged.kernel), graph.weight(merged.bias))
    inputs = [x, *weights, PADDING_MASK]
    if encoder.relative_bias is not None:
        bias = position_bias(graph, encoder.relative_bias)
        # There is no past; the bias is [1, heads, sequence, sequence].
        inputs += ["", graph.node("Unsqueeze", bias, graph.weight(np.array([0])))]
    return graph.fused("Attention", *inputs, num_heads=encoder.heads)


def _product(graph: GraphBuilder, x: str, dense: Dense) -> str:
    return graph.node("MatMul", x, graph.weight(dense.kernel))
