"""A graph on one or several GPUs, with inputs and outputs bound to buffers of few shapes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from semserve_server.cuda.buffers import Buffers
from semserve_server.cuda.placement import described, misplaced, nodes_of
from semserve_server.cuda.shapes import Shape, rounded, usual_shapes
from semserve_server.errors import BundleError, MisplacedNodes
from semserve_server.runtime.encoding import Encoding
from semserve_server.runtime.graph import Graph, graph_file
from semserve_server.runtime.padding import pad, padded_shape
from semserve_server.runtime.session import check_names

SHRINK = "memory.enable_memory_arena_shrinkage"
GRAPH_ID = "gpu_graph_id"
NO_GRAPH = "-1"
"""ONNX Runtime's id for a run without a CUDA graph."""
WARM_UP_SECONDS = 20.0
"""Most seconds to run the usual shapes once. The first run of a shape takes some milliseconds."""


@dataclass(frozen=True, slots=True)
class Place:
    """A device to load a graph on, and how its buffers are named there."""

    provider: str
    """Execution provider."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Options of the provider."""
    memory: str = "cpu"
    """ONNX Runtime's name of the device's memory: `cuda` or `cpu`."""
    number: int = 0
    """Number of the device."""
    fallbacks: tuple[tuple[str, dict[str, str]], ...] = ()
    """Providers, with options, for the nodes that the first provider does not take."""


@dataclass(slots=True)
class _Slot:
    """The buffers of one run at a time on one device."""

    session: ort.InferenceSession
    place: Place
    buffers: Buffers


class BoundSession:
    """A graph on GPUs. `run` may be called from several threads at the same time.

    Each GPU has a session and `runs_per_gpu` sets of buffers. While a run computes, the next batch
    is padded and copied into the other set. A run goes to the GPU that has waited longest.
    """

    def __init__(
        self,
        graph: Graph,
        places: Sequence[Place],
        *,
        max_length: int,
        runs_per_gpu: int,
        cuda_graphs: bool = False,
    ) -> None:
        """Load the graph, and check where its nodes run.

        Args:
            graph: the graph.
            places: at least one device; equal ones.
            max_length: most tokens of a sequence.
            runs_per_gpu: most runs of a GPU at the same time; 1 with `cuda_graphs`, because the
                graphs of a session share memory.
            cuda_graphs: whether each shape is captured as a CUDA graph, which starts all kernels of
                a run at once.

        Raises:
            BundleError: ONNX Runtime cannot load the graph.
            MisplacedNodes: nodes would run on the CPU.
        """
        self.provider = places[0].provider
        self._max_length, self._pads_start = max_length, graph.pads_start
        self._cuda_graphs = cuda_graphs
        self._usual_size: int | None = None
        self._free: SimpleQueue[_Slot] = SimpleQueue()
        self._slots: list[_Slot] = []
        with graph_file(graph.content) as path:
            sessions = [
                _load(graph, path, place, profiled=n == 0) for n, place in enumerate(places)
            ]
        for session in sessions:
            check_names(graph, session)
        for _ in range(runs_per_gpu):
            for session, place in zip(sessions, places, strict=True):
                buffers = Buffers(graph, session, place.memory, place.number)
                self._slots.append(_Slot(session, place, buffers))
        for slot in self._slots:
            self._free.put(slot)
        self._check_placement(graph, sessions[0])

    def run(self, encodings: Sequence[Encoding], *, exclusive: bool = False) -> NDArray[np.float32]:
        """Run one batch, padded to a rounded shape.

        Args:
            encodings: at least one.
            exclusive: has no effect: a GPU has no second session.

        Returns:
            Float32 [encodings, outputs], which need not be finite.
        """
        del exclusive
        shape = rounded(padded_shape(encodings), most=self._max_length)
        feeds = pad(encodings, start=self._pads_start, shape=shape)
        slot = self._free.get()
        try:
            rows = self._run(slot, feeds, shape)
        finally:
            self._free.put(slot)
        return rows[: len(encodings)]

    def warm_up(
        self,
        blank: Callable[[int], Encoding],
        *,
        most_tokens: int,
        seconds: float = WARM_UP_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> int:
        """Run the usual shapes on every GPU, the largest first. Return the number of runs.

        Before, the memory that larger batches needed is freed. Afterwards a run that is larger than
        the usual ones frees its memory when it ends.

        Args:
            blank: makes an encoding with a number of tokens.
            most_tokens: most padded tokens of a batch.
            seconds: no further shape is run after this time.
            clock: in seconds.
        """
        ends = clock() + seconds
        shapes = usual_shapes(most_length=self._max_length, most_tokens=most_tokens)
        self._usual_size = 0
        runs = 0
        for shape in [(1, min(shape[1] for shape in shapes)), *shapes]:
            encodings = [blank(shape[1])] * shape[0]
            actual = rounded(padded_shape(encodings), most=self._max_length)
            feeds = pad(encodings, start=self._pads_start, shape=actual)
            for slot in [self._free.get() for _ in self._slots]:
                try:
                    if clock() < ends:
                        self._run(slot, feeds, actual)
                        runs += 1
                finally:
                    self._free.put(slot)
            if runs == len(self._slots):  # the first shape has freed the memory
                self._usual_size = max(_size(one) for one in shapes)
        return runs

    def _run(
        self, slot: _Slot, feeds: Mapping[str, NDArray[np.int32]], shape: Shape
    ) -> NDArray[np.float32]:
        options = ort.RunOptions()
        if self._cuda_graphs:
            options.add_run_config_entry(GRAPH_ID, str(slot.buffers.number_of(shape)))
        elif self._usual_size is not None and _size(shape) > self._usual_size:
            kind = "gpu" if slot.place.memory == "cuda" else "cpu"
            options.add_run_config_entry(SHRINK, f"{kind}:{slot.place.number}")
        return slot.buffers.run(feeds, shape, options)

    def _check_placement(self, graph: Graph, profiled: ort.InferenceSession) -> None:
        """Run once, and refuse nodes on the CPU.

        Raises:
            MisplacedNodes: names the nodes.
        """
        slot = self._slots[0]
        options = ort.RunOptions()
        if self._cuda_graphs:
            options.add_run_config_entry(GRAPH_ID, NO_GRAPH)
        encoding = Encoding([0], [0], right_ids=[0] if "token_ids_right" in graph.inputs else None)
        shape = rounded((1, 1), most=self._max_length)
        if "padding_mask" not in graph.inputs:  # every text has the full length
            shape = (1, self._max_length)
        slot.buffers.run(pad([encoding], start=self._pads_start, shape=shape), shape, options)
        profile = Path(profiled.end_profiling())
        try:
            found = misplaced(nodes_of(profile), allowed=graph.cpu_operators)
        finally:
            profile.unlink()
            profile.parent.rmdir()
        if found:
            raise MisplacedNodes(
                f"{graph.name}: on {self.provider}, {len(found)} nodes would run on the CPU: "
                f"{described(found)}: serve another variant (--variant fp16), or --device cpu"
            )


def _size(shape: Shape) -> int:
    """Return a measure of the memory of a run: the attention scores of a head."""
    return shape[0] * shape[1] * shape[1]


def _load(graph: Graph, path: Path, place: Place, *, profiled: bool) -> ort.InferenceSession:
    """Load a graph on one device.

    Raises:
        BundleError: ONNX Runtime cannot load it, or runs it elsewhere.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # Shapes vary, so remembered memory plans would accumulate.
    options.enable_mem_pattern = False
    # The weights do not belong in the arena, which shrinks.
    options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
    options.log_severity_level = 3
    if profiled:
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(tempfile.mkdtemp(prefix="semserve-"), "run"))
    # Without this, each load warns that no plugin offers the provider, which is built in.
    ort.set_default_logger_severity(3)
    providers = [(place.provider, dict(place.options)), *place.fallbacks]
    try:
        session = ort.InferenceSession(path, options, providers=providers, enable_fallback=0)
    except Exception as error:
        raise BundleError(f"{graph.name}: ONNX Runtime cannot load it: {error}") from error
    if session.get_providers()[0] != place.provider:
        raise BundleError(
            f"{graph.name}: ONNX Runtime runs it on {session.get_providers()[0]}, not on "
            f"{place.provider}"
        )
    return session
