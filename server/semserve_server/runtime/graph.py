"""A graph to load, and the file that ONNX Runtime loads it from."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

GRAPH_FILE, WEIGHTS_FILE = "model.onnx", "weights.bin"
"""The files of an optimised graph as ONNX Runtime writes them."""


class GraphKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that an optimised graph and the layout of its weights depend on."""

    graph: str
    """SHA-256 of the bundle's graph."""
    onnxruntime: str
    """Version and build of ONNX Runtime."""
    cpu: str
    """Maker, model and instruction sets of the CPUs."""
    options: str
    """Options of the session that change the optimised graph."""

    @property
    def name(self) -> str:
        """Name of the graph's entry in the cache."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Graph:
    """A graph to load, with its fields of the manifest."""

    name: str
    """Origin of the graph, for messages."""
    content: bytes
    """A complete serialized ONNX model; external weight files are not read. Empty if the graph is
    optimised."""
    inputs: tuple[str, ...]
    output: str
    outputs: int
    """Size of a row of the output."""
    pads_start: bool = False
    """Whether padding precedes the tokens of a sequence."""
    cpu_operators: frozenset[str] = frozenset()
    """Operators that may run on the CPU although the session is on another device."""
    optimised: Path | None = None
    """File of the optimised graph in the cache, which a session on the CPU opens in place of the
    content. Its weights are in files beside it."""


@contextlib.contextmanager
def graph_file(content: bytes) -> Iterator[Path]:
    """Write a graph to a separate temporary directory while it is loaded.

    The file has exactly the verified bytes, and weights in external files are not found. If ONNX
    Runtime's Python API loads a graph from memory, it keeps the bytes as long as the session
    exists.
    """
    with tempfile.TemporaryDirectory(prefix="semserve-") as directory:
        path = Path(directory, GRAPH_FILE)
        path.write_bytes(content)
        yield path
