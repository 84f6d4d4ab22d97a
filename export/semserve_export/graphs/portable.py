"""The portable graph of an encoder, with only standard ONNX operators.

It is built from named weights without Keras, in seconds. Before it is written, it is compared with
a Keras model with the same weights.
"""

import numpy as np
import onnx

from semserve_export.encoder_weights import Dense, EncoderWeights, Layer, Norm
from semserve_export.graphs.encoder_graph import TOKEN_IDS, finish, project, reads_first_alone
from semserve_export.graphs.graph_builder import GraphBuilder
from semserve_export.graphs.pooling_graph import apply_activation, number
from semserve_export.graphs.unpadding import PADDING_MASK
from semserve_export.model_spec import INPUTS, ModelSpec

MASKED = -1e30
"""Number that is added to the attention score of a padded token; it is large enough to hide the
score."""
ACTIVATIONS = {"erf": "gelu", "tanh": "gelu_tanh", "relu": "relu", "silu": "silu"}


def portable_graph(encoder: EncoderWeights, spec: ModelSpec) -> onnx.ModelProto:
    """Build the graph: int32 inputs [batch, sequence], one fp32 output [batch, columns]."""
    graph = GraphBuilder()
    x = project(graph, encoder, _embeddings(graph, encoder))
    for layer in encoder.layers:
        x = _layer(graph, encoder, layer, x)
    if reads_first_alone(encoder.head):
        # The index is a scalar, so that its axis is removed: the result is [batch, hidden].
        x = graph.node("Gather", x, graph.weight(np.array(0)), axis=1)
    return finish(graph, encoder, spec, x)


def _embeddings(graph: GraphBuilder, encoder: EncoderWeights) -> str:
    """Add the normalised sum of the tables' rows: [batch, sequence, width]."""
    tables = encoder.embeddings
    x = graph.node("Gather", graph.weight(tables.tokens), TOKEN_IDS)
    shape = graph.node("Shape", TOKEN_IDS)
    length = graph.node("Slice", shape, _ints(graph, 1), _ints(graph, 2))
    positions = graph.weight(tables.positions)
    x = graph.node("Add", x, graph.node("Slice", positions, _ints(graph, 0), length))
    if tables.segments is not None:
        rows = graph.node("Gather", graph.weight(tables.segments), INPUTS[1])
        x = graph.node("Add", x, rows)
    return _norm(graph, encoder, x, tables.norm)


def _layer(graph: GraphBuilder, encoder: EncoderWeights, layer: Layer, x: str) -> str:
    attended = _dense(graph, _attention(graph, encoder, layer, x), layer.attention_output)
    middle = _norm(graph, encoder, graph.node("Add", attended, x), layer.attention_norm)
    up = apply_activation(graph, ACTIVATIONS[encoder.activation], _dense(graph, middle, layer.up))
    down = _dense(graph, up, layer.down)
    return _norm(graph, encoder, graph.node("Add", down, middle), layer.norm)


def _attention(graph: GraphBuilder, encoder: EncoderWeights, layer: Layer, x: str) -> str:
    size = encoder.hidden // encoder.heads
    query, key, value = (
        _by_head(graph, encoder, _dense(graph, x, part), order)
        for part, order in (
            (layer.query, [0, 2, 1, 3]),
            (layer.key, [0, 2, 3, 1]),
            (layer.value, [0, 2, 1, 3]),
        )
    )
    scores = graph.node("Mul", graph.node("MatMul", query, key), number(graph, size**-0.5))
    shares = graph.node("Softmax", graph.node("Add", scores, _bias(graph)), axis=-1)
    context = graph.node("Transpose", graph.node("MatMul", shares, value), perm=[0, 2, 1, 3])
    return graph.node("Reshape", context, _ints(graph, 0, 0, encoder.hidden))


def _by_head(graph: GraphBuilder, encoder: EncoderWeights, x: str, order: list[int]) -> str:
    """Split a product [batch, sequence, hidden] into heads, and transpose its axes."""
    size = encoder.hidden // encoder.heads
    apart = graph.node("Reshape", x, _ints(graph, 0, 0, encoder.heads, size))
    return graph.node("Transpose", apart, perm=order)


def _bias(graph: GraphBuilder) -> str:
    """Add the additive padding mask: fp32 [batch, 1, 1, sequence], 0 or `MASKED`."""
    mask = graph.node("Cast", PADDING_MASK, to=onnx.TensorProto.FLOAT)
    padded = graph.node("Sub", number(graph, 1), mask)
    bias = graph.node("Mul", padded, number(graph, MASKED))
    return graph.node("Unsqueeze", bias, _ints(graph, 1, 2))


def _dense(graph: GraphBuilder, x: str, dense: Dense) -> str:
    product = graph.node("MatMul", x, graph.weight(dense.kernel))
    return graph.node("Add", product, graph.weight(dense.bias))


def _norm(graph: GraphBuilder, encoder: EncoderWeights, x: str, norm: Norm) -> str:
    weights = (graph.weight(norm.gamma), graph.weight(norm.beta))
    return graph.node("LayerNormalization", x, *weights, axis=-1, epsilon=encoder.epsilon)


def _ints(graph: GraphBuilder, *values: int) -> str:
    return graph.weight(np.array(values, np.int64))
