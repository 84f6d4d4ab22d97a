"""The common parts of all variants of an encoder's graph: embeddings, norms, GELU, an fp32 head.

The graph uses ONNX Runtime's fused operators, one for a dozen nodes of tf2onnx, so it runs only on
ONNX Runtime. Between embeddings and head, all tokens of a batch are in one list, [tokens, hidden],
without padding, except with `padded`. Each variant defines its layers.
"""

from collections.abc import Callable

import numpy as np
import onnx

from semserve_export.encoder_weights import (
    Array,
    Classifier,
    EncoderWeights,
    Norm,
    Pool,
    Pooler,
    SparseHead,
)
from semserve_export.graphs.graph_builder import GraphBuilder
from semserve_export.graphs.pooling_graph import add_dense, add_steps, add_vector, apply_activation
from semserve_export.graphs.sparse_graph import add_sparse
from semserve_export.graphs.unpadding import first_of_each, pack, unpack
from semserve_export.model_spec import INPUTS, ModelSpec

TOKEN_IDS, SEGMENT_IDS, _ = INPUTS
LayerOf = Callable[[int, str, str], str]
"""Adds the layer of that place. Given [tokens, hidden] of the tokens that attend and of all tokens,
it returns the output of those that attend."""


def build_graph(
    graph: GraphBuilder, encoder: EncoderWeights, spec: ModelSpec, add: LayerOf
) -> onnx.ModelProto:
    """Build embeddings, layers and head; `add` makes each layer.

    If the head reads only the first token of a text, the last layer computes only this token.
    """
    x = project(graph, encoder, pack(graph, *embeddings(graph, encoder)))
    last = len(encoder.layers) - 1
    for place in range(last):
        x = add(place, x, x)
    if reads_first_alone(encoder.head):
        return finish(graph, encoder, spec, add(last, first_of_each(graph, x), x))
    return finish(graph, encoder, spec, unpack(graph, add(last, x, x)))


def reads_first_alone(head: Classifier | Pool | SparseHead) -> bool:
    """Return whether a head reads only the first token of a text."""
    if isinstance(head, SparseHead):
        return False
    return isinstance(head, Classifier) or bool(head.pooler) or head.modes == ("cls",)


def finish(
    graph: GraphBuilder, encoder: EncoderWeights, spec: ModelSpec, x: str
) -> onnx.ModelProto:
    """Add the head; its input is [batch, hidden] if `reads_first_alone`, otherwise all slots."""
    x, head = _float(graph, x), encoder.head
    if isinstance(head, Classifier):
        add_dense(graph, _pooled(graph, head.pooler, x), head.logits)
        return graph.model(spec.inputs, spec.output, len(head.logits.bias))
    if isinstance(head, SparseHead):
        add_sparse(graph, head, x, encoder.epsilon)
        return graph.model(spec.inputs, spec.output, len(head.bias))
    _add_pooled(graph, head, x)
    return graph.model(spec.inputs, spec.output, head.width(encoder.hidden))


def skip_norm(
    graph: GraphBuilder, encoder: EncoderWeights, x: str, skip: str, norm: Norm, bias: Array
) -> str:
    """Add `norm(x + bias + skip)`.

    ONNX Runtime has one operator for it, SkipLayerNormalization. On a CPU it takes four times as
    long as the three here (1.31, 512 tokens of 384); on a GPU it saves launches, so fp16 has it.
    """
    gamma, beta = graph.weight(norm.gamma), graph.weight(norm.beta)
    if graph.precision == np.float16:
        weights = (gamma, beta, graph.weight(bias))
        return graph.fused("SkipLayerNormalization", x, skip, *weights, epsilon=encoder.epsilon)
    total = graph.node("Add", graph.node("Add", x, graph.weight(bias)), skip)
    return graph.node("LayerNormalization", total, gamma, beta, axis=-1, epsilon=encoder.epsilon)


def gelu(graph: GraphBuilder, encoder: EncoderWeights, x: str, bias: Array) -> str:
    """Add the activation of `x + bias`, in the form that the model was trained with."""
    operator = {"erf": "BiasGelu", "tanh": "FastGelu"}.get(encoder.activation)
    if operator:
        return graph.fused(operator, x, graph.weight(bias))
    shifted = graph.node("Add", x, graph.weight(bias))
    return apply_activation(graph, encoder.activation, shifted)


def embeddings(graph: GraphBuilder, encoder: EncoderWeights) -> tuple[str, int]:
    """Add the normalised sum of the tables' rows, [batch, sequence, width]; return width too."""
    tables = encoder.embeddings
    segments = ("", "")
    if tables.segments is not None:
        segments = (SEGMENT_IDS, graph.weight(tables.segments))
    embedded = graph.fused(
        "EmbedLayerNormalization",
        *(TOKEN_IDS, segments[0]),
        *(graph.weight(tables.tokens), graph.weight(tables.positions)),
        *(segments[1], graph.weight(tables.norm.gamma), graph.weight(tables.norm.beta)),
        epsilon=encoder.epsilon,
    )
    return embedded, tables.tokens.shape[1]


def project(graph: GraphBuilder, encoder: EncoderWeights, x: str) -> str:
    """Project embeddings [tokens, width] to the input of the first layer, [tokens, hidden]."""
    projection = encoder.embeddings.projection
    if projection is None:
        return x
    product = graph.node("MatMul", x, graph.weight(projection.kernel))
    return graph.node("Add", product, graph.weight(projection.bias))


def _add_pooled(graph: GraphBuilder, head: Pool, x: str) -> None:
    if head.pooler:
        add_steps(graph, head, _pooled(graph, head.pooler, x))
    else:
        add_vector(graph, head, x)


def _pooled(graph: GraphBuilder, pooler: Pooler, x: str) -> str:
    return apply_activation(graph, pooler.activation, add_dense(graph, x, pooler.dense))


def _float(graph: GraphBuilder, x: str) -> str:
    """Convert to fp32 if the layers have a lower precision: sums over a text need it."""
    if graph.precision == np.float32:
        return x
    return graph.node("Cast", x, to=onnx.TensorProto.FLOAT)
