"""SPLADE's head as ONNX nodes: from token vectors to a weight for each entry of the vocabulary.

The logits of one text are [sequence, vocabulary]: 31 MB for 256 tokens of a vocabulary of 30,522.
A Scan computes and pools them text by text, so that the logits of only one text are in memory.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper

from semserve_export.encoder_weights import SparseHead
from semserve_export.graphs.graph_builder import GraphBuilder
from semserve_export.graphs.pooling_graph import apply_activation, number
from semserve_export.graphs.unpadding import PADDING_MASK

GELU = {"erf": "gelu", "tanh": "gelu_tanh"}


def add_sparse(graph: GraphBuilder, head: SparseHead, x: str, epsilon: float) -> str:
    """Add the head: fp32 [batch, vocabulary], all weights at least 0.

    Args:
        graph: what the nodes are added to.
        head: the numbers.
        x: fp32 [batch, sequence, hidden].
        epsilon: of the layer normalisation.
    """
    product = graph.node("MatMul", x, graph.weight(head.transform.kernel, np.float32))
    product = graph.node("Add", product, graph.weight(head.transform.bias, np.float32))
    active = apply_activation(graph, GELU.get(head.activation, head.activation), product)
    norm = (graph.weight(each, np.float32) for each in (head.norm.gamma, head.norm.beta))
    tokens = graph.node("LayerNormalization", active, *norm, axis=-1, epsilon=epsilon)
    mask = graph.node("Cast", PADDING_MASK, to=TensorProto.BOOL)
    pooled = graph.node("Scan", tokens, mask, num_scan_inputs=2, body=_pool_text(graph, head))
    if head.pooling == "sum":
        return pooled
    # The logarithm is monotonic, so it is applied once for each text, after the maximum.
    weights = graph.node("Relu", pooled)
    for _ in range(head.logarithms):
        weights = graph.node("Log", graph.node("Add", weights, number(graph, 1)))
    return weights


def _pool_text(graph: GraphBuilder, head: SparseHead) -> onnx.GraphProto:
    """Build the body of the Scan, which runs for each text: fp32 [vocabulary] of its real tokens.

    Its inputs are tokens fp32 [sequence, width] and a mask bool [sequence]; it uses weights of the
    outer graph.
    """
    words = graph.weight(head.words, np.float32)
    bias = graph.weight(head.bias, np.float32)
    nodes = [
        helper.make_node("Compress", ["tokens", "mask"], ["real"], axis=0),
        helper.make_node("Gemm", ["real", words, bias], ["logits"], transB=1),
    ]
    if head.pooling == "max":
        nodes.append(helper.make_node("ReduceMax", ["logits"], ["pooled"], axes=[0], keepdims=0))
    else:
        one, first = number(graph, 1), graph.weight(np.array([0], np.int64))
        nodes.append(helper.make_node("Relu", ["logits"], ["logarithm_0"]))
        for place in range(head.logarithms):
            nodes += [
                helper.make_node("Add", [f"logarithm_{place}", one], [f"shifted_{place}"]),
                helper.make_node("Log", [f"shifted_{place}"], [f"logarithm_{place + 1}"]),
            ]
        summed = [f"logarithm_{head.logarithms}", first]
        nodes.append(helper.make_node("ReduceSum", summed, ["pooled"], keepdims=0))
    values = helper.make_tensor_value_info
    return helper.make_graph(
        nodes,
        "text",
        [
            values("tokens", TensorProto.FLOAT, ["sequence", head.words.shape[1]]),
            values("mask", TensorProto.BOOL, ["sequence"]),
        ],
        [values("pooled", TensorProto.FLOAT, [len(head.bias)])],
    )
