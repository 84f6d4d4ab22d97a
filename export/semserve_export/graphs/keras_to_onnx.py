"""Converts a Keras model to the portable graph with tf2onnx, with stable names."""

import gc
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import EncodeError
from onnx import numpy_helper
from tf2onnx.handler import tf_op

from semserve_export.errors import WeightsError
from semserve_export.graphs.canonical_graph import make_canonical

OPSET = 18
AXES = ("batch", "sequence")
MAX_GRAPH_BYTES = 2**31 - 1  # of a protobuf message
CATCH_ERRORS = "TF2ONNX_CATCH_ERRORS"
"""An environment variable of tf2onnx. If it is set, to any value, tf2onnx raises the error of an
optimiser that fails."""
TOO_LARGE = (
    "the model is too large: a graph of over 2 GiB, weights included, cannot be written as one file"
)


@tf_op("Erfc")
class Erfc:
    """1 - erf(x), which tf2onnx does not support: TensorFlow computes the exact GELU with it."""

    @classmethod
    def version_9(cls, graph: Any, node: Any, **_: Any) -> None:
        """Replace a node by Erf and Sub, and keep the name of its output."""
        shapes, kinds, outputs = node.output_shapes, node.output_dtypes, list(node.output)
        graph.remove_node(node.name)
        erf = graph.make_node("Erf", node.input, shapes=shapes, dtypes=kinds).output[0]
        one = graph.make_const(f"{node.name}_one", np.array(1, np.float32)).output[0]
        graph.make_node("Sub", [one, erf], outputs=outputs, shapes=shapes, dtypes=kinds)


def write_graph(model: Any, inputs: Sequence[str], output: str, path: Path) -> None:
    """Write the model as ONNX: int32 inputs [batch, sequence] and one fp32 output.

    Takes ten to seventy seconds, almost all of it in tf2onnx.

    Raises:
        WeightsError: the graph would be over 2 GiB.
    """
    if 4 * model.count_params() > MAX_GRAPH_BYTES:
        raise WeightsError(f"{path.name}: {TOO_LARGE}")
    # They log every optimiser that they run, tables of other tokenizers, and, with a stack, errors
    # that they also raise.
    for library in ("tf2onnx", "tensorflow"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        # Keras checks whether np.object exists, and numpy then prints a FutureWarning.
        warnings.filterwarnings("ignore", "In the future `np.object`", FutureWarning)
        _convert(model, path)
    gc.collect()
    proto = onnx.load(path)
    _name_axes(proto.graph, inputs)
    _name_output(proto.graph, output)
    _drop_shape_only_weights(proto.graph)
    make_canonical(proto.graph)
    proto.graph.ClearField("doc_string")  # number of conversions in this process
    onnx.checker.check_model(proto, full_check=True)
    save_graph(proto, path)


def save_graph(proto: onnx.ModelProto, path: Path) -> None:
    """Write a graph with its weights inside, as the server reads it.

    Raises:
        WeightsError: the graph exceeds the limit of protobuf, and so of the server.
    """
    try:
        size = proto.ByteSize()
    except (ValueError, EncodeError):  # the class depends on protobuf's backend
        size = MAX_GRAPH_BYTES + 1
    if size > MAX_GRAPH_BYTES:
        raise WeightsError(f"{path.name}: {TOO_LARGE}")
    onnx.save(proto, path)


def _convert(model: Any, path: Path) -> None:
    """Convert the model with Keras and tf2onnx.

    tf2onnx copies the graph with its weights before each run of its dozen optimisers, so that it
    can skip an optimiser that fails. The copies took a quarter of the time of a small model, and
    10.5 GB for a model with 124 MB of weights. So the first attempt makes no copies.
    """
    settings = {"format": "onnx", "opset_version": OPSET, "verbose": False}
    try:
        with _without_copies():
            model.export(str(path), **settings)
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - of an optimiser; the second attempt raises any other error again
        model.export(str(path), **settings)


@contextmanager
def _without_copies() -> Iterator[None]:
    """Make tf2onnx raise the error of an optimiser, so that it copies no graph."""
    before = os.environ.get(CATCH_ERRORS)
    os.environ[CATCH_ERRORS] = "FALSE"
    try:
        yield
    finally:
        if before is None:
            del os.environ[CATCH_ERRORS]
        else:
            os.environ[CATCH_ERRORS] = before


def _name_axes(graph: onnx.GraphProto, inputs: Sequence[str]) -> None:
    """Name the free dimensions batch and sequence; tf2onnx numbers them."""
    if sorted(inputs) != sorted(value.name for value in graph.input):
        raise ValueError(f"tf2onnx named the inputs {[value.name for value in graph.input]}")
    for value in (*graph.input, *graph.output):
        axes = (AXES[0], f"{AXES[1]}_right") if value.name.endswith("_right") else AXES
        for axis, dimension in zip(axes, value.type.tensor_type.shape.dim, strict=False):
            if not dimension.HasField("dim_value"):
                dimension.dim_param = axis
    del graph.value_info[:]  # the inner shapes still have the numbers, and no part needs them


def _name_output(graph: onnx.GraphProto, name: str) -> None:
    (output,) = graph.output
    for node in graph.node:
        node.input[:] = [name if value == output.name else value for value in node.input]
        node.output[:] = [name if value == output.name else value for value in node.output]
    output.name = name


def _drop_shape_only_weights(graph: onnx.GraphProto) -> None:
    """Keep one copy of each weight.

    tf2onnx keeps a second, reshaped copy of every attention kernel only to read its shape.
    """
    dims = {tensor.name: tensor.dims for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Shape" and node.input[0] in dims:
            shape = np.array(dims[node.input[0]], np.int64)
            node.CopyFrom(
                onnx.helper.make_node(
                    "Constant", [], list(node.output), value=numpy_helper.from_array(shape)
                )
            )
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
