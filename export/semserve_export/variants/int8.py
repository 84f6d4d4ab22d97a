"""The int8 graph: products of int8 weights and inputs with one scale for each token.

A scale for a whole batch, as in plain dynamic quantisation, makes a text's vector depend on the
other texts of the batch. Here the scale of a token depends only on this token, so batching changes
nothing. Three methods keep the vectors near those of fp32:
- a weight has one scale for each output, and products are summed exactly, in int32;
- smoothing: where a channel reaches far beyond the others, it is divided by a number and its
  weights multiplied by it (SmoothQuant), so that it does not use up the token's 8 bits;
- the input of the down product is what GELU gives, never below -0.17. Shifted by that it needs no
  sign, which is worth one bit; the shift comes off the bias again.

Smoothing costs one product of [tokens, hidden] and cannot be folded into the norm before it: the
norm's output is also what the layer's own output is added to, which needs it as it was.

A model of many layers may still lose too much. Then the down products stay in fp32: their inputs
have the channels that reach farthest beyond the others. Of all-mpnet-base-v2 the cosine to fp32 was
0.9981 in the mean and 0.985 at least with all products in int8, 0.9991 and 0.9967 with the down
products in fp32, and 0.9986 and 0.9958 with the inputs of the down products smoothed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import onnx

from semserve_export.encoder_weights import Array, Dense, EncoderWeights, Layer
from semserve_export.graphs.attention import attend
from semserve_export.graphs.encoder_graph import build_graph, gelu, skip_norm
from semserve_export.graphs.graph_builder import GraphBuilder
from semserve_export.model_spec import ModelSpec
from semserve_export.variants.activation_ranges import Ranges

SCHEME = "int8 weights, a scale for each output; inputs uint8, a scale for each token; smoothed"
SCHEME_BUT_DOWN = f"{SCHEME}; the second product of each feed-forward block in fp32"
LARGEST_INT8, LARGEST_UINT8, MIDDLE = 127, 255, 128
FLOORS = {"erf": 0.1701, "tanh": 0.1701, "relu": 0.0, "silu": 0.2785}
"""The minimum of the activation is minus this value."""
SMALLEST = 1e-6  # lower limit of a range, because zeros have no scale
ALPHA = 0.65  # migration strength of SmoothQuant; the best of 0.4 to 0.65


def int8_graph(
    encoder: EncoderWeights,
    spec: ModelSpec,
    ranges: Sequence[Ranges],
    *,
    down_in_fp32: bool = False,
) -> onnx.ModelProto:
    """Build the graph; inputs, output, embeddings, norms, softmax and head are those of fp32.

    Args:
        encoder: the model.
        spec: inputs and output of the graph.
        ranges: ranges of the inputs of each layer's products.
        down_in_fp32: whether the second product of each feed-forward block stays in fp32.
    """
    graph = GraphBuilder()
    layer_of = partial(_layer, graph, encoder, down_in_fp32=down_in_fp32)

    def add(place: int, queried: str, tokens: str) -> str:
        return layer_of(encoder.layers[place], ranges[place], queried, tokens)

    return build_graph(graph, encoder, spec, add)


def quantize_weights(kernel: Array) -> tuple[npt.NDArray[np.int8], Array]:
    """Quantise a kernel [inputs, outputs]; returns it as int8 with its scales fp32 [outputs].

    A processor with AVX2 and without VNNI adds the products of two neighbouring inputs in 16 bits,
    with saturation. Therefore two neighbouring weights never sum to more than 128, which with
    inputs of up to 255 stays below 32768: the sum is then exact and equal on every machine.
    """
    rows = len(kernel) - len(kernel) % 2
    pairs = kernel[0:rows:2] + kernel[1:rows:2]
    largest = np.maximum(np.abs(kernel).max(axis=0), np.abs(pairs).max(axis=0))
    scales = np.maximum(largest, SMALLEST) / LARGEST_INT8
    return np.rint(kernel / scales).astype(np.int8), scales.astype(np.float32)


def smoothing_factors(absmax: Array, kernels: Sequence[Array]) -> Array:
    """Return the divisor of each input channel: fp32 [inputs], with mean 1.

    Args:
        absmax: largest absolute value of each input channel.
        kernels: weights of the input's products, each [inputs, outputs].
    """
    weights = np.abs(np.concatenate(kernels, axis=1)).max(axis=1)
    factors = np.maximum(absmax, SMALLEST) ** ALPHA / np.maximum(weights, SMALLEST) ** (1 - ALPHA)
    return np.asarray(factors / factors.mean(), np.float32)


@dataclass(frozen=True, slots=True)
class _Rows:
    """A quantised input: uint8 [tokens, inputs], scales fp32 [tokens, 1], a zero point."""

    values: str
    scales: str
    zero: int


def _layer(
    graph: GraphBuilder,
    encoder: EncoderWeights,
    layer: Layer,
    ranges: Ranges,
    queried: str,
    tokens: str,
    *,
    down_in_fp32: bool,
) -> str:
    parts = (layer.query, layer.key, layer.value)
    factors = smoothing_factors(ranges.attention, [part.kernel for part in parts])

    def project(x: str, dense: Dense) -> str:
        rows = _signed(graph, _divided(graph, x, factors))
        product = _product(graph, rows, dense.kernel * factors[:, None])
        return graph.node("Add", product, graph.weight(dense.bias))

    context = attend(graph, encoder, layer, queried, tokens, project)
    projected = _product(graph, _signed(graph, context), layer.attention_output.kernel)
    bias = layer.attention_output.bias
    middle = skip_norm(graph, encoder, projected, queried, layer.attention_norm, bias)
    return _feed_forward(graph, encoder, layer, ranges, middle, down_in_fp32=down_in_fp32)


def _feed_forward(
    graph: GraphBuilder,
    encoder: EncoderWeights,
    layer: Layer,
    ranges: Ranges,
    middle: str,
    *,
    down_in_fp32: bool,
) -> str:
    factors = smoothing_factors(ranges.up, [layer.up.kernel])
    rows = _signed(graph, _divided(graph, middle, factors))
    up = _product(graph, rows, layer.up.kernel * factors[:, None])
    inner = gelu(graph, encoder, up, layer.up.bias)
    if down_in_fp32:
        down = graph.node("MatMul", inner, graph.weight(layer.down.kernel))
        return skip_norm(graph, encoder, down, middle, layer.norm, layer.down.bias)
    floor = FLOORS[encoder.activation]
    down = _product(graph, _shifted(graph, inner, floor), layer.down.kernel)
    return skip_norm(
        graph, encoder, down, middle, layer.norm, _bias_without_shift(layer.down, floor)
    )


def _divided(graph: GraphBuilder, x: str, factors: Array) -> str:
    return graph.node("Mul", x, graph.weight(1 / factors))


def _signed(graph: GraphBuilder, x: str) -> _Rows:
    """Quantise rows of either sign: the zero point is 128, and 1 to 255 are used."""
    scales = _scales(graph, graph.node("Abs", x), LARGEST_INT8)
    flat = _flat(graph, scales)
    # QuantizeLinear needs as many zero points as scales.
    middle = onnx.numpy_helper.from_array(np.array([MIDDLE], np.uint8))
    zeros = graph.node("ConstantOfShape", graph.node("Shape", flat), value=middle)
    return _Rows(graph.node("QuantizeLinear", x, flat, zeros, axis=0), scales, MIDDLE)


def _shifted(graph: GraphBuilder, x: str, floor: float) -> _Rows:
    """Quantise outputs of the activation, shifted above zero: 0 to 255 are used."""
    lifted = graph.node("Add", x, _number(graph, floor))
    scales = _scales(graph, lifted, LARGEST_UINT8)
    return _Rows(graph.node("QuantizeLinear", lifted, _flat(graph, scales), axis=0), scales, 0)


def _bias_without_shift(down: Dense, floor: float) -> Array:
    """Subtract the contribution of the shift to the product with the rounded weights."""
    values, scales = quantize_weights(down.kernel)
    sums: Array = values.sum(axis=0, dtype=np.int64) * scales
    return np.asarray(down.bias - floor * sums, np.float32)


def _scales(graph: GraphBuilder, x: str, steps: int) -> str:
    largest = graph.node("ReduceMax", x, axes=[1], keepdims=1)
    bounded = graph.node("Max", largest, _number(graph, SMALLEST))
    return graph.node("Mul", bounded, _number(graph, 1 / steps))


def _product(graph: GraphBuilder, rows: _Rows, kernel: Array) -> str:
    """Multiply in integers; one operator scales by output, and a product then scales by token."""
    values, scales = quantize_weights(kernel)
    product = graph.fused(
        "MatMulIntegerToFloat",
        *(rows.values, graph.weight(values)),
        *(_number(graph, 1), graph.weight(scales)),
        graph.weight(np.array(rows.zero, np.uint8)),
    )
    return graph.node("Mul", product, rows.scales)


def _flat(graph: GraphBuilder, scales: str) -> str:
    return graph.node("Reshape", scales, graph.weight(np.array([-1], np.int64)))


def _number(graph: GraphBuilder, value: float) -> str:
    return graph.weight(np.array(value, np.float32))
