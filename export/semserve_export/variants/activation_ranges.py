"""Measures the ranges of the inputs of a model's matrix products, by channel, on texts."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
import onnxruntime
from onnx import GraphProto, TensorProto, helper

from semserve_export.encoder_weights import Array, EncoderWeights
from semserve_export.model_spec import ModelSpec
from semserve_export.tokenizers.bert_wordpiece import Inputs
from semserve_export.variants.fused import fused_graph


@dataclass(frozen=True, slots=True)
class Ranges:
    """Largest absolute value of each channel, both fp32 [hidden]."""

    attention: Array  # of the input of query, key and value
    up: Array  # of the input of the feed-forward block

    def joined(self, other: Self) -> Self:
        """Return the union of both ranges."""
        pairs = ((self.attention, other.attention), (self.up, other.up))
        return type(self)(*(np.maximum(*pair) for pair in pairs))


def observe_ranges(
    encoder: EncoderWeights, spec: ModelSpec, batches: Iterable[Inputs]
) -> list[Ranges]:
    """Run the fused graph, which has only real tokens, and measure the inputs of its products.

    Returns one entry for each layer. A shared layer, as in ALBERT, has one entry for all places, so
    that its int8 weights are stored once.
    """
    model = fused_graph(encoder, spec)
    watched = _layer_inputs(model.graph, encoder)
    model.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in watched
    )
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    largest = np.zeros((len(watched), encoder.hidden), np.float32)
    for batch in batches:
        seen = session.run(watched, {name: batch[name] for name in spec.inputs})
        largest = np.maximum(largest, [np.abs(value).max(axis=0) for value in seen])
    together: dict[int, Ranges] = {}
    for layer, *pair in zip(encoder.layers, largest[0::2], largest[1::2], strict=True):
        ranges = Ranges(*pair)
        together[id(layer)] = together.get(id(layer), ranges).joined(ranges)
    return [together[id(layer)] for layer in encoder.layers]


def _layer_inputs(graph: GraphProto, encoder: EncoderWeights) -> list[str]:
    """Return the inputs of the attention and of the feed-forward block of each layer.

    The first is the packed embeddings, after their projection if there is one; every other one is
    the output of a norm. A norm of the head comes after those of the layers.
    """
    first = next(n for n in graph.node if n.op_type == "EmbedLayerNormalization").output[0]
    after = ["Reshape", "Gather", *(["MatMul", "Add"] if encoder.embeddings.projection else [])]
    for operator in after:
        taking = (node for node in graph.node if first in node.input)
        first = next(node.output[0] for node in taking if node.op_type == operator)
    norms = [node.output[0] for node in graph.node if node.op_type == "LayerNormalization"]
    return [first, *norms[: 2 * len(encoder.layers) - 1]]
