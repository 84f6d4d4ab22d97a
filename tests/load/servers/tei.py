"""text-embeddings-inference, with a graph that is cut before its pooling."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import lzma
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from load import wire
from load.bundle import Bundle
from load.process import free_port, running
from load.server import Absent, Server
from load.servers.peer_graph import run_in_export

WEIGHTS = Path(".cache/weights")
NAME = "text-embeddings-inference"
CONFIGURATION = ("config.json", "tokenizer_config.json", "special_tokens_map.json")
CUT_GRAPH = Path(__file__).parent / "cut_graph.py"


@dataclass(frozen=True, slots=True)
class Kit:
    """What a start of it needs."""

    router: Path
    model: Path
    libraries: Path


def prepare(router: Path | None, bundle: Bundle, graph: Path, cache: Path) -> Kit:
    """Lay out program, libraries and model under `cache`, where they are not there yet.

    Args:
        router: the program, or the program packed with xz.
        bundle: whose tokenizer it is to use.
        graph: of the bundle's model, pooling and all.
        cache: where to keep what is made.

    Raises:
        Absent: something that it is made of is missing.
    """
    router = require_program(router)
    place = cache / "tei"
    place.mkdir(parents=True, exist_ok=True)
    return Kit(
        router=_program(router, place),
        model=_model(bundle, graph, place),
        libraries=_libraries(place),
    )


def require_program(router: Path | None) -> Path:
    """Return the program's file.

    Raises:
        Absent: it is not there.
    """
    if router is None or not router.is_file():
        raise Absent(f"no program at {router}: set SEMSERVE_TEI")
    return router


def _program(router: Path, place: Path) -> Path:
    if router.suffix != ".xz":
        return router
    program = place / "tei-router"
    if not program.is_file() or program.stat().st_mtime < router.stat().st_mtime:
        with lzma.open(router) as packed, program.open("wb") as out:
            shutil.copyfileobj(packed, out)
        program.chmod(0o755)
    return program


def _libraries(place: Path) -> Path:
    """Link the runtime of our own environment under the name that the program loads."""
    spec = importlib.util.find_spec("onnxruntime")
    capi = Path(spec.origin or "").parent / "capi" if spec else Path()
    found = sorted(capi.glob("libonnxruntime.so.1*"))
    if not found:
        raise Absent(f"no libonnxruntime.so.1 in {capi}")
    link = place / "lib" / "libonnxruntime.so.1"
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(found[0])
    return link.parent


def _model(bundle: Bundle, graph: Path, place: Path) -> Path:
    """Make a directory as it wants it: published configuration, our tokenizer, the graph cut."""
    digest = hashlib.sha256(graph.read_bytes()).hexdigest()[:12]
    model = place / f"{bundle.name}-{digest}"
    if (model / "onnx" / "model.onnx").is_file():
        return model
    published = _published(bundle, place.parent)
    model.mkdir(exist_ok=True)
    for name in CONFIGURATION:
        shutil.copy(published / name, model / name)
    shutil.copy(bundle.tokenizer, model / "tokenizer.json")
    (model / "sentence_bert_config.json").write_text(
        json.dumps({"max_seq_length": bundle.max_tokens, "do_lower_case": False})
    )
    run_in_export(CUT_GRAPH, graph, model / "onnx" / "model.onnx")
    return model


def _published(bundle: Bundle, cache: Path) -> Path:
    """Find the weights that a bundle was made from: those that came with vectors of its size."""
    for config in sorted([*WEIGHTS.glob("*/config.json"), *cache.glob("base/*/config.json")]):
        whole = all((config.parent / name).is_file() for name in CONFIGURATION)
        if whole and json.loads(config.read_text()).get("hidden_size") == bundle.dimensions:
            return config.parent
    raise Absent(f"no {CONFIGURATION[0]} of its size under {WEIGHTS}: run `make models`")


@contextlib.contextmanager
def tei(kit: Kit, bundle: Bundle, *, name: str = NAME) -> Iterator[Server]:
    """Serve with its defaults, quietly.

    Raises:
        StartError: it did not answer.
    """
    port = free_port()
    command = [
        kit.router, "--model-id", kit.model, "--pooling", "mean", "--hostname", "127.0.0.1",
        "--port", str(port), "--prometheus-port", str(free_port()),
    ]  # fmt: skip
    environment = {"LD_LIBRARY_PATH": str(kit.libraries), "RUST_LOG": "warn", "LOG_LEVEL": "warn"}
    with running(name, command, environment=environment) as process:
        server = Server(process.name, process, f"127.0.0.1:{port}", wire.TEI, bundle.dimensions * 4)
        server.wait()
        yield server
