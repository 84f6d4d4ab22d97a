"""How far the inputs of a model's products reach, channel by channel, on real text."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import onnxruntime
from onnx import GraphProto, TensorProto, helper

from semserve_export.bert_weights import Array, Bert
from semserve_export.fused import fused_graph
from semserve_export.spec import ModelSpec
from semserve_export.tokenizer import Inputs


@dataclass(frozen=True, slots=True)
class Ranges:
    """Largest absolute value of each channel, both fp32 [hidden]."""

    attention: Array  # of what query, key and value are made from
    up: Array  # of what goes into the feed-forward block


def observe_ranges(bert: Bert, spec: ModelSpec, batches: Iterable[Inputs]) -> list[Ranges]:
    """Run the fused graph, which has real tokens only, and watch its products' inputs.

    Returns one entry a layer.
    """
    model = fused_graph(bert, spec)
    watched = _layer_inputs(model.graph)
    model.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in watched
    )
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    largest = np.zeros((len(watched), bert.hidden), np.float32)
    for batch in batches:
        seen = session.run(watched, batch)
        largest = np.maximum(largest, [np.abs(value).max(axis=0) for value in seen])
    return [Ranges(*pair) for pair in zip(largest[0::2], largest[1::2], strict=True)]


def _layer_inputs(graph: GraphProto) -> list[str]:
    """Return what goes into the attention and into the feed-forward block of each layer, in turn.

    The first is the packed embeddings, and every other one comes out of a norm.
    """
    embedded = next(n for n in graph.node if n.op_type == "EmbedLayerNormalization").output[0]
    listed = next(node.output[0] for node in graph.node if embedded in node.input)
    packed = next(node.output[0] for node in graph.node if listed in node.input)
    norms = [node.output[0] for node in graph.node if node.op_type == "LayerNormalization"]
    return [packed, *norms[:-1]]
