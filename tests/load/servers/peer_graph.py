"""The graph that peers run: one that they would have, and not the one that we made to be fast."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

from load.bundle import Bundle
from load.server import Absent

EXPORT_PYTHON = Path(".venv-export/bin/python")
EXPORT = Path(".venv-export/bin/semserve-export")
PADDED_GRAPH = Path(__file__).parent / "padded_graph.py"


def peer_graph(bundle: Bundle, source: str, cache: Path) -> Path:
    """Return the padded graph of a bundle's model, built once.

    Args:
        bundle: whose graph it is.
        source: recipe or directory that the bundle was made from.
        cache: where to keep what is made.

    Raises:
        Absent: there is no environment to build it in, or the source is no BERT.
    """
    digest = hashlib.sha256(bundle.variants["portable"].read_bytes()).hexdigest()[:12]
    graph = cache / "peers" / f"{bundle.name}-{digest}.onnx"
    if not graph.is_file():
        run_in_export(PADDED_GRAPH, source, graph)
    return graph


def run_in_export(script: Path, *words: str | Path) -> None:
    """Run a script that needs `onnx` or Keras.

    Raises:
        Absent: it cannot be run, or fails.
    """
    if not EXPORT_PYTHON.is_file():
        raise Absent(f"no {EXPORT_PYTHON} to make a graph with: run `make models`")
    command = [EXPORT_PYTHON, script, *words]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise Absent(f"{script.name} {words[0]}: {ran.stderr.strip()[-300:]}")
