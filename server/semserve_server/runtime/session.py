"""A loaded ONNX model on the CPU: pads encodings and runs them."""

from __future__ import annotations

import contextlib
import functools
import mmap
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from semserve_server.errors import BundleError
from semserve_server.runtime.encoding import Encoding
from semserve_server.runtime.graph import Graph, graph_file
from semserve_server.runtime.graph_cache import GRAPH_FILE, WEIGHTS_FILE, GraphKey
from semserve_server.runtime.lookup_tables import lookup_tables
from semserve_server.runtime.padding import pad
from semserve_server.system.memory import return_memory
from semserve_server.system.private_files import write_pieces

# For programs that use the library; the server's command sets ORT_DISABLE_TELEMETRY as well.
ort.disable_telemetry_events()

VERSION: str = ort.__version__
"""Version of ONNX Runtime."""

SPIN_MICROSECONDS = 20
"""How long a thread spins for the next part of a run before it sleeps. A single run of MiniLM is
as fast as with endless spinning (3.0 and 3.1 ms), and other work gets more CPU time: two
simultaneous runs of two threads computed 804 texts/s, and 712 with endless spinning."""

CPU = "CPUExecutionProvider"


_SAVED = {
    "session.save_external_prepacked_constant_initializers": "1",
    "session.optimized_model_external_initializers_file_name": WEIGHTS_FILE,
    "session.optimized_model_external_initializers_min_size_in_bytes": "1024",
}
"""Options of a session that writes its optimised graph: the weights go to a file of their own, in
the layout of the CPU's kernels too."""

ALIGNMENT = 64
"""Bytes to which the kernels of ONNX Runtime need packed weights aligned. A file has each weight
right behind the one before, so a weight of other sizes moves the rest. With AVX-512, a run then
ends with a segmentation fault."""
_PACKED_OFFSET = re.compile(rb"\|(\d+);\d+;")
"""In the graph's file: `kernel|offset;length;checksum`, with one part for each packed form."""

_NOT_PACKED = (
    b"LSTM", b"GRU", b"RNN", b"DynamicQuantizeLSTM", b"AttnLSTM", b"If", b"Loop", b"Scan",
)  # fmt: skip
"""Operators whose graphs are not kept. ONNX Runtime 1.31 ends with a segmentation fault when it
runs an LSTM with packed weights of a file."""


class Session:
    """A graph on the CPU. `run` may be called from several threads at the same time.

    The graph is loaded twice if that pays: for simultaneous runs with few threads each, which have
    the highest throughput, and for a single run with many threads, which has the lowest latency.
    """

    provider = CPU
    """The execution provider that runs the graph."""

    def __init__(self, graph: Graph, *, threads: int, exclusive_threads: int) -> None:
        """Load the graph.

        Args:
            graph: the graph.
            threads: intra-op threads of a run beside other runs.
            exclusive_threads: intra-op threads of a run that is alone.

        Raises:
            BundleError: ONNX Runtime cannot load the graph.
        """
        self._tables: dict[str, ort.OrtValue] = {}
        with contextlib.ExitStack() as stack:
            path = graph.optimised or stack.enter_context(graph_file(graph.content))
            if not graph.optimised:  # whose weights ONNX Runtime maps itself
                self._tables = _map_tables(graph.content, path)
            optimised = graph.optimised is not None
            self._shared = self._load(graph.name, path, _options(threads, optimised=optimised))
            self._exclusive = self._shared
            if exclusive_threads > threads:
                options = _options(exclusive_threads, spin=True, optimised=optimised)
                self._exclusive = self._load(graph.name, path, options)
        # The graph itself is not kept: it is as large as the weights.
        self._inputs, self._output, self._outputs = graph.inputs, graph.output, graph.outputs
        self._pads_start = graph.pads_start
        check_names(graph, self._shared)

    def __del__(self) -> None:
        """Free the weights immediately, while other models continue."""
        # Delete the sessions first, because they read the mapped tables.
        for name in ("_exclusive", "_shared", "_tables"):
            vars(self).pop(name, None)
        return_memory()

    def drop_exclusive(self) -> None:
        """Use the shared session for single runs too, for models too small for more threads."""
        self._exclusive = self._shared

    def run(self, encodings: Sequence[Encoding], *, exclusive: bool = False) -> NDArray[np.float32]:
        """Run one batch.

        Args:
            encodings: at least one. They are padded to the longest, or to their `padded_length`.
            exclusive: whether no other run is active, so that this one may use all threads.

        Returns:
            Float32 [encodings, outputs], which need not be finite.

        Raises:
            ValueError: the graph's output does not have one row for each encoding.
        """
        feeds = pad(encodings, start=self._pads_start)
        session = self._exclusive if exclusive else self._shared
        rows: NDArray[np.float32] = session.run(
            [self._output], {name: feeds[name] for name in self._inputs}
        )[0]
        if rows.shape != (len(encodings), self._outputs) or rows.dtype != np.float32:
            raise ValueError(f"the graph gave {rows.dtype} {rows.shape} for {len(encodings)} rows")
        return rows

    def _load(self, name: str, path: Path, options: ort.SessionOptions) -> ort.InferenceSession:
        for table, values in self._tables.items():
            options.add_initializer(table, values)
        try:
            return ort.InferenceSession(path, options, providers=[CPU])
        except Exception as error:
            raise BundleError(f"{name}: ONNX Runtime cannot load it: {error}") from error


def optimise(graph: Graph, directory: Path) -> None:
    """Write the optimised graph with its packed weights into files that sessions can map.

    Args:
        graph: the graph of a bundle.
        directory: gets `GRAPH_FILE`, and `WEIGHTS_FILE` if a weight has 1,024 bytes or more.

    Raises:
        ValueError: a session could not use the packed weights.
        Exception: ONNX Runtime cannot load the graph or write the files.
    """
    for operator in _NOT_PACKED:
        if bytes((0x22, len(operator))) + operator in graph.content:  # NodeProto.op_type
            raise ValueError(
                f"{graph.name}: {operator.decode()} cannot use packed weights of a file"
            )
    options = _options(1)
    options.optimized_model_filepath = str(directory / GRAPH_FILE)
    for name, value in _SAVED.items():
        options.add_session_config_entry(name, value)
    with graph_file(graph.content) as path:
        ort.InferenceSession(path, options, providers=[CPU])
    return_memory()
    packed = _PACKED_OFFSET.findall((directory / GRAPH_FILE).read_bytes())
    if any(int(offset) % ALIGNMENT for offset in packed):
        raise ValueError(f"{graph.name}: a packed weight is not aligned to {ALIGNMENT} bytes")


def cache_key(sha256: str, cpu: str) -> GraphKey:
    """Return the key of an optimised graph in the cache.

    Args:
        sha256: digest of the bundle's graph.
        cpu: maker, model and instruction sets of the CPUs.
    """
    build = f"{VERSION} {ort.get_build_info()}"
    options = f"all {_SAVED} {_NOT_PACKED} {ALIGNMENT}"
    return GraphKey(graph=sha256, onnxruntime=build, cpu=cpu, options=options)


def check_names(graph: Graph, session: ort.InferenceSession) -> None:
    """Compare the inputs and outputs of a loaded graph with its manifest.

    Raises:
        BundleError: they differ.
    """
    inputs = {one.name for one in session.get_inputs()}
    outputs = {one.name for one in session.get_outputs()}
    if inputs != set(graph.inputs) or graph.output not in outputs:
        raise BundleError(
            f"{graph.name}: takes {sorted(inputs)} and gives {sorted(outputs)}, but the "
            f"manifest says {sorted(graph.inputs)} and {graph.output!r}"
        )


def _map_tables(content: bytes, path: Path) -> dict[str, ort.OrtValue]:
    """Map the lookup tables of a graph, each from a temporary file.

    The files can be removed after they are mapped. Sessions must not outlive the returned values.
    """
    tables = {}
    for place, table in enumerate(lookup_tables(content)):
        file = path.with_name(f"table-{place}")
        write_pieces(file, memoryview(content)[table.start : table.stop])
        with file.open("rb") as opened:
            mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        if hasattr(mmap, "MADV_NOHUGEPAGE"):  # a huge page would bring in a thousand rows for one
            mapped.madvise(mmap.MADV_NOHUGEPAGE)
        values = np.frombuffer(mapped, "<f4").reshape(table.shape)
        tables[table.name] = ort.OrtValue.ortvalue_from_numpy(values)
    return tables


def _options(threads: int, *, spin: bool = False, optimised: bool = False) -> ort.SessionOptions:
    """Create the options of a session.

    Args:
        threads: intra-op threads of a run.
        spin: whether threads spin briefly while they wait for the next part of a run. Spinning
            lowers a single run of MiniLM from 3.7 to 3.0 ms, and slows simultaneous runs, which
            share the CPUs. Between runs no thread spins.
        optimised: whether the graph comes from `optimise`, and must not be changed again.
    """
    options = ort.SessionOptions()
    if optimised:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Lengths vary from batch to batch, so remembered memory plans would only accumulate.
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spin else "0")
    options.add_session_config_entry("session.intra_op.spin_duration_us", str(SPIN_MICROSECONDS))
    options.add_session_config_entry("session.force_spinning_stop", "1")
    _share_arena()
    options.add_session_config_entry("session.use_env_allocators", "1")
    # Allocations that live as long as the session do not belong in an arena that outlives it.
    options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
    options.log_severity_level = 3
    return options


@functools.cache
def _share_arena() -> None:
    """Let all sessions allocate the memory of their runs from one arena, as few runs are active.

    With an arena each, nine models kept 196 MB more.
    """
    kind, use = ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, ort.OrtMemType.DEFAULT
    largest, strategy, chunk, waste = 0, -1, -1, -1  # as ONNX Runtime has them for its own
    ort.create_and_register_allocator(
        ort.OrtMemoryInfo("Cpu", kind, 0, use), ort.OrtArenaCfg(largest, strategy, chunk, waste)
    )
