"""The fused graph: fp32, a tenth of the nodes of tf2onnx, and no padding between texts."""

import onnx

from semserve_export.encoder_weights import Dense, EncoderWeights
from semserve_export.graphs.attention import attend
from semserve_export.graphs.encoder_graph import build_graph, gelu, skip_norm
from semserve_export.graphs.graph_builder import GraphBuilder
from semserve_export.model_spec import ModelSpec


def fused_graph(encoder: EncoderWeights, spec: ModelSpec) -> onnx.ModelProto:
    """Build the graph; inputs and output are those of the portable one."""
    graph = GraphBuilder()

    def add(place: int, queried: str, tokens: str) -> str:
        return _layer(graph, encoder, place, queried, tokens)

    return build_graph(graph, encoder, spec, add)


def _layer(
    graph: GraphBuilder, encoder: EncoderWeights, place: int, queried: str, tokens: str
) -> str:
    layer = encoder.layers[place]

    def project(x: str, dense: Dense) -> str:
        return graph.node("Gemm", x, graph.weight(dense.kernel), graph.weight(dense.bias))

    context = attend(graph, encoder, layer, queried, tokens, project)
    projected = _product(graph, context, layer.attention_output)
    bias = layer.attention_output.bias
    middle = skip_norm(graph, encoder, projected, queried, layer.attention_norm, bias)
    inner = gelu(graph, encoder, _product(graph, middle, layer.up), layer.up.bias)
    down = _product(graph, inner, layer.down)
    return skip_norm(graph, encoder, down, middle, layer.norm, layer.down.bias)


def _product(graph: GraphBuilder, x: str, dense: Dense) -> str:
    return graph.node("MatMul", x, graph.weight(dense.kernel))
