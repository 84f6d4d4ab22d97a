"""Device buffers of the inputs and the output of a graph, one set for each shape of a batch."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from semserve_server.cuda.shapes import Shape
from semserve_server.runtime.graph import Graph
from semserve_server.runtime.padding import PER_TEXT

MAX_BYTES = 128 * 1024 * 1024
"""Most bytes of the buffers of all shapes together; the buffers of the shape that was not used for
the longest time are freed. One set may be larger."""
MAX_SHAPES = 512
"""Most shapes with buffers, and so most CUDA graphs of a session."""
_NUMBER_BYTES = 4


@dataclass(slots=True)
class _Bound:
    """The buffers of one shape, bound to the session."""

    number: int
    """Number of the shape among those of the session, for its CUDA graph."""
    inputs: dict[str, ort.OrtValue]
    output: ort.OrtValue
    binding: ort.IOBinding
    size: int
    """Bytes of all buffers."""


class Buffers:
    """The buffers of one run at a time. Used by one thread at a time."""

    def __init__(
        self,
        graph: Graph,
        session: ort.InferenceSession,
        memory: str,
        number: int,
        *,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """Create an empty set.

        Args:
            graph: has the names of inputs and output.
            session: the loaded graph.
            memory: ONNX Runtime's name of the device's memory: `cuda` or `cpu`.
            number: number of the device.
            max_bytes: most bytes of the buffers of all shapes together.
        """
        self._inputs, self._output, self._outputs = graph.inputs, graph.output, graph.outputs
        self._session = session
        self._memory, self._number = memory, number
        self._max_bytes = max_bytes
        self._numbers = itertools.count(1)
        self._by_shape: OrderedDict[Shape, _Bound] = OrderedDict()
        self._size = 0

    @property
    def shapes(self) -> list[Shape]:
        """The shapes with buffers; the one that was used last is last."""
        return list(self._by_shape)

    @property
    def size(self) -> int:
        """Bytes of all buffers."""
        return self._size

    def number_of(self, shape: Shape) -> int:
        """Return the number of a shape, at least 1. Buffers are created for it if it has none."""
        return self._bound(shape).number

    def run(
        self, feeds: Mapping[str, NDArray[np.int32]], shape: Shape, options: ort.RunOptions
    ) -> NDArray[np.float32]:
        """Copy the inputs to the device, run, and copy the output back.

        Args:
            feeds: has each input of the graph, int32 [batch, sequence] or [batch].
            shape: (batch, sequence).
            options: of the run.

        Returns:
            Float32 [batch, outputs].
        """
        bound = self._bound(shape)
        for name, value in bound.inputs.items():
            value.update_inplace(feeds[name])  # returns when the copy has ended
        self._session.run_with_iobinding(bound.binding, options)
        rows: NDArray[np.float32] = bound.output.numpy()
        # In the memory of the host this is the buffer itself, which the next run overwrites.
        return rows.copy() if self._memory == "cpu" else rows

    def _bound(self, shape: Shape) -> _Bound:
        found = self._by_shape.get(shape)
        if found is not None:
            self._by_shape.move_to_end(shape)
            return found
        made = self._bind(shape)
        while self._by_shape and (
            self._size + made.size > self._max_bytes or len(self._by_shape) >= MAX_SHAPES
        ):
            _, oldest = self._by_shape.popitem(last=False)
            self._size -= oldest.size
            self._session.release_captured_graph(oldest.number)
        self._by_shape[shape] = made
        self._size += made.size
        return made

    def _bind(self, shape: Shape) -> _Bound:
        inputs = {
            name: self._buffer(shape[:1] if name in PER_TEXT else shape, np.int32)
            for name in self._inputs
        }
        output = self._buffer((shape[0], self._outputs), np.float32)
        binding = self._session.io_binding()
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, value)
        binding.bind_ortvalue_output(self._output, output)
        numbers = sum(int(np.prod(value.shape())) for value in (*inputs.values(), output))
        return _Bound(next(self._numbers), inputs, output, binding, numbers * _NUMBER_BYTES)

    def _buffer(self, shape: tuple[int, ...], kind: type[np.generic]) -> ort.OrtValue:
        return ort.OrtValue.ortvalue_from_shape_and_type(shape, kind, self._memory, self._number)
