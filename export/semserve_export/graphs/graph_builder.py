"""Builds an ONNX graph node by node; each method returns the name of the added value."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 10
MICROSOFT = "com.microsoft"


class GraphBuilder:
    """Nodes and weights of one graph; equal nodes and weights are added once.

    Floating point weights are stored in `precision`; other weights are unchanged.
    """

    def __init__(self, precision: npt.DTypeLike = np.float32) -> None:
        self.precision = np.dtype(precision)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._known: dict[Any, str] = {}

    def weight(self, array: npt.NDArray[Any], precision: npt.DTypeLike | None = None) -> str:
        """Add a weight in the precision of the graph, or in the given precision."""
        if array.dtype.kind == "f":
            array = array.astype(precision or self.precision)
        # The key is a digest, because the word table of an XLM-RoBERTa has nearly a gigabyte.
        known = (array.dtype.str, array.shape, sha256(array.tobytes()).digest())
        if known not in self._known:
            name = self._known[known] = f"weight_{len(self._weights)}"
            # np.ascontiguousarray would convert a scalar to one dimension.
            self._weights.append(numpy_helper.from_array(np.array(array, order="C"), name))
        return self._known[known]

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node of standard ONNX with one output; an omitted input is an empty name."""
        return self._add(operator, inputs, "", attributes)

    def fused(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node of ONNX Runtime's own operators; only its first output is used."""
        return self._add(operator, inputs, MICROSOFT, attributes)

    def model(self, inputs: Sequence[str], output: str, columns: int) -> onnx.ModelProto:
        """Finish the graph: the last added value becomes `output`, fp32 [batch, columns].

        The inputs are int32 [batch, sequence].
        """
        self._nodes[-1].output[0] = output
        axes = ["batch", "sequence"]
        graph = helper.make_graph(
            self._nodes,
            "semserve",
            [helper.make_tensor_value_info(name, TensorProto.INT32, axes) for name in inputs],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", columns])],
            initializer=self._weights,
        )
        domains = {"": OPSET, **{node.domain: 1 for node in self._nodes if node.domain}}
        opsets = [helper.make_opsetid(*domain) for domain in domains.items()]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)

    def _add(
        self, operator: str, inputs: tuple[str, ...], domain: str, attributes: dict[str, Any]
    ) -> str:
        known = (operator, inputs, repr(attributes))
        if known in self._known:
            return self._known[known]
        name = self._known[known] = f"{operator}_{len(self._nodes)}"
        outputs = [name]
        if operator == "EmbedLayerNormalization":
            outputs.append(f"{name}_mask_index")  # not optional, and not used
        self._nodes.append(
            helper.make_node(operator, inputs, outputs, name=name, domain=domain, **attributes)
        )
        return name
