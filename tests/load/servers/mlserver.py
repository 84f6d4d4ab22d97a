"""MLServer with a small ONNX runtime of ours and adaptive batching, in an environment apart."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from load import wire
from load.bundle import Bundle
from load.process import free_port, running
from load.server import Absent, Server

# With a later uvloop the worker processes of 1.7.1 do not start.
REQUIREMENTS = ("mlserver==1.7.1", "uvloop<0.22", "onnxruntime", "tokenizers", "numpy")
RUNTIME = Path(__file__).parent / "mlserver_runtime.py"
UV = Path(".tools/uv/bin/uv")
BATCH = {"max_batch_size": 32, "max_batch_time": 0.005}
"""Batches of 8 and of 16 answered no more with 64 callers."""


def install(environment: Path) -> None:
    """Make its environment from PyPI."""
    if not UV.is_file():
        raise Absent(f"no {UV}: run `make install`")
    for command in (
        [UV, "venv", "--quiet", "--allow-existing", "--python", ".venv/bin/python", environment],
        [UV, "pip", "install", "--quiet", "--python", environment, *REQUIREMENTS],
    ):
        subprocess.run(command, check=True)


def prepare(environment: Path) -> Path:
    """Return its program.

    Raises:
        Absent: it is not installed.
    """
    program = environment / "bin" / "mlserver"
    if not program.is_file():
        raise Absent(f"not installed in {environment}: say --install-mlserver once")
    return program


@contextlib.contextmanager
def mlserver(program: Path, bundle: Bundle, graph: Path) -> Iterator[Server]:
    """Serve a graph of a bundle's model.

    Raises:
        StartError: it did not answer.
    """
    port = free_port()
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        _settings(home, port, bundle, graph)
        with running("MLServer", [program.absolute(), "start", home]) as process:
            server = Server(
                process.name,
                process,
                f"127.0.0.1:{port}",
                wire.OPEN_INFERENCE,
                bundle.dimensions * 4,
                facts=dict(BATCH),
            )
            server.wait()
            yield server


def _settings(home: Path, port: int, bundle: Bundle, graph: Path) -> None:
    """Write its two settings files, with our runtime beside them."""
    shutil.copy(RUNTIME, home / "runtime.py")
    server = {
        "host": "127.0.0.1",
        "http_port": free_port(),
        "grpc_port": port,
        "metrics_port": free_port(),
        "metrics_dir": str(home),
        "environments_dir": str(home),
        "debug": False,
    }
    model = {
        "name": "model",
        "implementation": "runtime.OnnxTexts",
        **BATCH,
        "parameters": {
            "extra": {
                "graph": str(graph.absolute()),
                "tokenizer": str(bundle.tokenizer.absolute()),
                "inputs": list(bundle.inputs),
                "output": bundle.output,
                "max_tokens": bundle.max_tokens,
            }
        },
    }
    (home / "settings.json").write_text(json.dumps(server))
    (home / "model-settings.json").write_text(json.dumps(model))
