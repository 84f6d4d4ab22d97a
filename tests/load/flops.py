"""What a text costs in floating-point operations, and how many the machine can do at most.

A rate of texts then has a share of the peak, which can be compared between models and machines.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx
import onnxruntime as ort
import tokenizers
from numpy.typing import NDArray

from load.bundle import Bundle
from load.ceiling import usable_cpus

PRODUCTS = {"MatMul", "Gemm", "Einsum"}
RESHAPING = {"Reshape", "Transpose", "Identity", "Cast"}
"""Operators that leave the number of weights."""
SIDE = 2048
"""Rows and columns of the matrices of the peak: too large for a cache, so that blocking counts."""
LEAST_PRODUCTS = 3


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a transformer that its operations depend on."""

    weights: int
    """Weights of its matrix products; each token meets each of them."""
    layers: int
    hidden: int

    def text(self, tokens: int) -> int:
        """Return the floating-point operations of a text, without padding.

        A product of a vector with a weight matrix is one multiplication and one addition a weight:
        2 * weights a token. The attention of a layer multiplies each query with each key, and each
        row of weights with the values: 2 * 2 * tokens * hidden a token. Biases, normalisation and
        activation are left out. So counted in Kaplan et al., "Scaling Laws for Neural Language
        Models", 2020, table 1, there without the product with the values.
        """
        return tokens * (2 * self.weights + 4 * self.layers * tokens * self.hidden)


def read_shape(bundle: Bundle) -> Shape:
    """Read the sizes from the portable graph: it has one Softmax in each layer."""
    graph = onnx.load(bundle.variants["portable"], load_external_data=False).graph
    sizes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for node in graph.node:  # in topological order
        if node.op_type in RESHAPING and node.input[0] in sizes:
            sizes[node.output[0]] = sizes[node.input[0]]
    weights = sum(
        prod(sizes[name])
        for node in graph.node
        if node.op_type in PRODUCTS
        for name in node.input
        if len(sizes.get(name, ())) > 1
    )
    layers = sum(node.op_type == "Softmax" for node in graph.node)
    return Shape(weights, layers, bundle.dimensions)


@functools.cache
def mean_text(bundle: Bundle, texts: tuple[str, ...]) -> float:
    """Return the floating-point operations of a text in the mean."""
    shape = read_shape(bundle)
    return float(np.mean([shape.text(tokens) for tokens in lengths(bundle, texts)]))


def lengths(bundle: Bundle, texts: Sequence[str]) -> list[int]:
    """Return the tokens of each text, special ones included."""
    tokenizer = tokenizers.Tokenizer.from_file(str(bundle.tokenizer))
    tokenizer.no_padding()
    tokenizer.enable_truncation(bundle.max_tokens)
    return [len(encoding) for encoding in tokenizer.encode_batch_fast(list(texts))]


def peak_rate(seconds: float) -> float:
    """Measure the most fp32 operations a second: products of large matrices, on every CPU.

    ONNX Runtime computes them, as it does those of the models: numpy's BLAS reached 256 GFLOP/s on
    two Zen 5 CPUs, where the runs of MiniLM reached 372.

    Args:
        seconds: how long; the fastest product counts.
    """
    session, left = _product()
    end, taken = time.perf_counter() + seconds, []
    while len(taken) < LEAST_PRODUCTS or time.perf_counter() < end:
        began = time.perf_counter()
        session.run(None, {"left": left})
        taken.append(time.perf_counter() - began)
    return 2 * SIDE**3 / min(taken)


@functools.cache
def _product() -> tuple[ort.InferenceSession, NDArray[np.float32]]:
    """Create a session of one product, and its left matrix."""
    left, right = (np.random.default_rng(seed).random((SIDE, SIDE), np.float32) for seed in (0, 1))
    values = {
        name: onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [SIDE, SIDE])
        for name in ("left", "out")
    }
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["left", "right"], ["out"])], "product",
        [values["left"]], [values["out"]], [onnx.numpy_helper.from_array(right, "right")],
    )  # fmt: skip
    model = onnx.helper.make_model(
        graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 17)]
    )
    options = ort.SessionOptions()
    options.intra_op_num_threads = usable_cpus()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session, left
