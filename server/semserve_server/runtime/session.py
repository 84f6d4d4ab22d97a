"""A loaded ONNX model: pads encodings and runs them. The only module that uses ONNX Runtime."""

from __future__ import annotations

import contextlib
import functools
import mmap
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from semserve_server.errors import BundleError, ConfigError
from semserve_server.runtime.encoding import Encoding
from semserve_server.runtime.lookup_tables import lookup_tables
from semserve_server.system.memory import return_memory

VERSION: str = ort.__version__
"""Version of ONNX Runtime."""

Device = Literal["auto", "cpu", "cuda"]

SPIN_MICROSECONDS = 20
"""How long a thread spins for the next part of a run before it sleeps. A single run of MiniLM is
as fast as with endless spinning (3.0 and 3.1 ms), and other work gets more CPU time: two
simultaneous runs of two threads computed 804 texts/s, and 712 with endless spinning."""

CUDA = "CUDAExecutionProvider"
CPU = "CPUExecutionProvider"


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph to load, and what its manifest says of it."""

    name: str
    """Origin of the graph, for messages."""
    content: bytes
    """A complete serialized ONNX model; external weight files are not read."""
    inputs: tuple[str, ...]
    output: str
    outputs: int
    """Size of a row of the output."""
    pads_start: bool = False
    """Whether padding precedes the tokens of a sequence."""


class Session:
    """A graph on a device. `run` may be called from several threads at the same time.

    On a CPU the graph is loaded twice if that pays: for simultaneous runs with few threads each,
    which have the highest throughput, and for a single run with many threads, which has the lowest
    latency.
    """

    def __init__(
        self, graph: Graph, *, device: Device, threads: int, exclusive_threads: int
    ) -> None:
        """Load the graph.

        Args:
            graph: the graph.
            device: the device. `cuda` never falls back to the CPU.
            threads: intra-op threads of a run on the CPU beside other runs.
            exclusive_threads: intra-op threads of a run on the CPU that is alone.

        Raises:
            ConfigError: CUDA was requested and is not available.
            BundleError: ONNX Runtime cannot load the graph.
        """
        with _alone(graph.content) as path:
            # Mapped tables are in the CPU's memory; another device needs its own copy.
            self._tables = {} if _providers(device) != [CPU] else _map_tables(graph.content, path)
            self._shared = self._load(graph.name, path, device, _options(threads))
            # If the libraries of CUDA are missing, ONNX Runtime logs that and uses the CPU. Only
            # the session reports the provider in use.
            self.provider: str = self._shared.get_providers()[0]
            if device == "cuda" and self.provider != CUDA:
                raise ConfigError(_missing_cuda(f"the session runs on {self.provider}"))
            self._exclusive = self._shared
            if self.provider == CPU and exclusive_threads > threads:
                options = _options(exclusive_threads, spin=True)
                self._exclusive = self._load(graph.name, path, device, options)
        # The graph itself is not kept: it is as large as the weights.
        self._inputs, self._output, self._outputs = graph.inputs, graph.output, graph.outputs
        self._pads_start = graph.pads_start
        self._check_names(graph)

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
        feeds = _pad(encodings, start=self._pads_start)
        session = self._exclusive if exclusive else self._shared
        rows: NDArray[np.float32] = session.run(
            [self._output], {name: feeds[name] for name in self._inputs}
        )[0]
        if rows.shape != (len(encodings), self._outputs) or rows.dtype != np.float32:
            raise ValueError(f"the graph gave {rows.dtype} {rows.shape} for {len(encodings)} rows")
        return rows

    def _load(
        self, name: str, path: Path, device: Device, options: ort.SessionOptions
    ) -> ort.InferenceSession:
        for table, values in self._tables.items():
            options.add_initializer(table, values)
        try:
            return ort.InferenceSession(path, options, providers=_providers(device))
        except Exception as error:
            raise BundleError(f"{name}: ONNX Runtime cannot load it: {error}") from error

    def _check_names(self, graph: Graph) -> None:
        inputs = {one.name for one in self._shared.get_inputs()}
        outputs = {one.name for one in self._shared.get_outputs()}
        if inputs != set(graph.inputs) or graph.output not in outputs:
            raise BundleError(
                f"{graph.name}: takes {sorted(inputs)} and gives {sorted(outputs)}, but the "
                f"manifest says {sorted(graph.inputs)} and {graph.output!r}"
            )


def _pad(encodings: Sequence[Encoding], *, start: bool) -> dict[str, NDArray[np.int32]]:
    """Create every possible input of a graph: int32 [encodings, sequence], 0 for padding.

    Args:
        encodings: at least one.
        start: whether padding precedes the tokens.
    """
    longest = max(encoding.padded_length or encoding.longest for encoding in encodings)
    shape = len(encodings), max(longest, 1)
    token_ids, mask = _padded([one.token_ids for one in encodings], shape, start=start)
    feeds = {
        "token_ids": token_ids,
        "padding_mask": mask,
        "segment_ids": _padded([one.segment_ids for one in encodings], shape, start=start)[0],
        "side": np.array([one.side for one in encodings], np.int32),
    }
    right = [one.right_ids for one in encodings if one.right_ids is not None]
    if right:
        right_ids, right_mask = _padded(right, shape, start=start)
        feeds |= {"token_ids_right": right_ids, "padding_mask_right": right_mask}
    return feeds


def _padded(
    sequences: Sequence[list[int]], shape: tuple[int, int], *, start: bool
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return sequences padded with 0, and their masks, which are 1 for tokens."""
    lengths = np.array([len(sequence) for sequence in sequences])[:, None]
    places = np.arange(shape[1])
    mask = places >= shape[1] - lengths if start else places < lengths
    padded = np.zeros(shape, np.int32)
    padded[mask] = list(chain.from_iterable(sequences))
    return padded, mask.astype(np.int32)


@contextlib.contextmanager
def _alone(content: bytes) -> Iterator[Path]:
    """Write a graph to a temporary directory of its own while it is loaded.

    The file has exactly the verified bytes, and weights in external files are not found. If ONNX
    Runtime's Python API loads a graph from memory, it keeps the bytes as long as the session
    exists.
    """
    with tempfile.TemporaryDirectory(prefix="semserve-") as directory:
        path = Path(directory, "model.onnx")
        path.write_bytes(content)
        yield path


def _map_tables(content: bytes, path: Path) -> dict[str, ort.OrtValue]:
    """Map the lookup tables of a graph, each from a temporary file.

    The files can be removed after they are mapped. Sessions must not outlive the returned values.
    """
    tables = {}
    for place, table in enumerate(lookup_tables(content)):
        file = path.with_name(f"table-{place}")
        file.write_bytes(memoryview(content)[table.start : table.stop])
        with file.open("rb") as opened:
            mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        if hasattr(mmap, "MADV_NOHUGEPAGE"):  # a huge page would bring in a thousand rows for one
            mapped.madvise(mmap.MADV_NOHUGEPAGE)
        values = np.frombuffer(mapped, "<f4").reshape(table.shape)
        tables[table.name] = ort.OrtValue.ortvalue_from_numpy(values)
    return tables


def _options(threads: int, *, spin: bool = False) -> ort.SessionOptions:
    """Create the options of a session.

    Args:
        threads: intra-op threads of a run.
        spin: whether threads spin briefly while they wait for the next part of a run. Spinning
            lowers a single run of MiniLM from 3.7 to 3.0 ms, and slows simultaneous runs, which
            share the CPUs. Between runs no thread spins.
    """
    options = ort.SessionOptions()
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


def _providers(device: Device) -> list[str | tuple[str, dict[str, str]]]:
    """Return the execution providers to request, best first."""
    available = ort.get_available_providers()
    if device == "cuda" and CUDA not in available:
        raise ConfigError(
            _missing_cuda("this onnxruntime has no CUDA: install semserve-server[gpu] alone")
        )
    if device == "cpu" or CUDA not in available:
        return [CPU]
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()
    # TensorFloat-32 rounds inputs to 10 bits; results would differ from Keras by 1e-3.
    return [(CUDA, {"use_tf32": "0", "arena_extend_strategy": "kSameAsRequested"}), CPU]


def _missing_cuda(reason: str) -> str:
    return (
        f"--device cuda: {reason}. It needs an NVIDIA driver, CUDA 13 and cuDNN 9 on the library "
        "path; or start with --device cpu"
    )
