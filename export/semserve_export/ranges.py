"""How far the inputs of a model's products reach, channel by channel, on real text."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

from semserve_export.bert_weights import Array, Bert
from semserve_export.fused import fused_graph
from semserve_export.spec import ModelSpec
from semserve_export.tokenizer import Inputs

PRODUCTS = 4  # a layer's: attention, its output, up, down


@dataclass(frozen=True, slots=True)
class Ranges:
    """Largest absolute value of each channel, both fp32 [hidden]."""

    attention: Array  # of what query, key and value are made from
    up: Array  # of what goes into the feed-forward block


def observe_ranges(bert: Bert, spec: ModelSpec, batches: Iterable[Inputs]) -> list[Ranges]:
    """Run the fused graph and watch its products' inputs, real tokens only; one entry a layer."""
    model = fused_graph(bert, spec)
    inputs = [node.input[0] for node in model.graph.node if node.op_type in {"Attention", "MatMul"}]
    watched = [*inputs[0::PRODUCTS], *inputs[2::PRODUCTS]]
    model.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in watched
    )
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    largest = np.zeros((len(watched), bert.hidden), np.float32)
    for batch in batches:
        real = batch["padding_mask"].ravel() == 1
        seen = [value.reshape(-1, bert.hidden)[real] for value in session.run(watched, batch)]
        largest = np.maximum(largest, [np.abs(value).max(axis=0) for value in seen])
    layers = len(bert.layers)
    return [Ranges(largest[place], largest[layers + place]) for place in range(layers)]
