"""Bundles that mean harm: links, pipes, sizes, depth, and graphs that reach for other files."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper
from semserve_server.errors import BundleError
from semserve_server.repository import bundle_files
from semserve_server.repository.manifest import MAX_FILE_BYTES, MAX_JSON_BYTES, read_bundle
from semserve_server.runtime.graph import Graph
from semserve_server.runtime.session import Session
from semserve_server.runtime.tokenizer import Tokenizer

INPUTS = ("token_ids", "padding_mask")


@pytest.fixture
def copy(tiny_models: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_models / "tiny-embed", tmp_path / "tiny-embed"))


def edit(directory: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = directory / "bundle.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


@pytest.mark.parametrize("name", ["bundle.json", "model.onnx", "tokenizer.json", "NOTICE"])
@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe", "directory"])
def test_what_is_no_regular_file_is_refused_and_not_waited_for(
    copy: Path, name: str, kind: str
) -> None:
    path = copy / name
    path.rename(copy / "elsewhere")
    match kind:
        case "link":
            path.symlink_to(copy / "elsewhere")
        case "dangling link":
            path.symlink_to(copy / "nowhere")
        case "pipe":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
    with pytest.raises(BundleError, match=f"{name}: is not a regular file"):
        read_bundle(copy)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda m: m["files"]["model.onnx"].update(bytes=MAX_FILE_BYTES + 1), "bytes"),
        (lambda m: m["files"]["model.onnx"].update(bytes=-1), "bytes"),
        (lambda m: m["files"]["model.onnx"].update(bytes=10**30), "bytes"),
        (lambda m: m["files"]["golden.json"].update(bytes=MAX_JSON_BYTES + 1), "golden.json have"),
        (lambda m: m["files"].update({f"f{n}": m["files"]["NOTICE"] for n in range(65)}), "files"),
        (lambda m: m.update(max_sequence_length=10**9), "max_sequence_length"),
        (lambda m: m.update(dimensions=10**9), "dimensions"),
        (lambda m: m.update(description="x" * 513), "description"),
        (lambda m: m.update(pooling="x" * 513), "pooling"),
        (lambda m: m.update(labels=["x" * 257, "y"]), "labels"),
        (lambda m: m.update(labels=[str(n) for n in range(4097)]), "labels"),
        (lambda m: m["versions"].update(keras="x" * 513), "versions"),
        (lambda m: m["variants"].update({".hidden": m["variants"]["portable"]}), "variants"),
        (lambda m: m["variants"]["portable"].update(file="/etc/passwd"), "file"),
        (lambda m: m["variants"]["portable"].update(file=".."), "file"),
        (lambda m: m["variants"]["portable"].update(file="a\\b"), "file"),
    ],
)
def test_a_manifest_that_asks_for_too_much_is_refused(
    copy: Path, change: Callable[[dict[str, Any]], object], says: str
) -> None:
    edit(copy, change)
    with pytest.raises(BundleError, match=says):
        read_bundle(copy)


def test_a_file_that_grows_after_its_size_was_seen_is_read_no_further(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    with pytest.raises(BundleError, match="over 99 bytes"):
        bundle_files.read(path, most=99)
    sha256 = hashlib.sha256(b"x" * 99).hexdigest()
    with pytest.raises(BundleError, match="has 100 bytes and the manifest says 99"):
        bundle_files.read_verified(path, sha256=sha256, size=99)


def test_a_tokenizer_that_changes_after_its_proof_is_not_used(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read once more after every file has been proved, and its bytes are proved again."""
    verify = bundle_files.verify

    def change_then_verify(path: Path, *, sha256: str, size: int) -> None:
        verify(path, sha256=sha256, size=size)
        if path.name == "tokenizer.json":
            content = path.read_bytes()
            path.write_bytes(content[:-2] + b" }")

    monkeypatch.setattr(bundle_files, "verify", change_then_verify)
    with pytest.raises(BundleError, match=r"tokenizer\.json: its SHA-256"):
        read_bundle(copy)


@pytest.mark.parametrize(
    "definition",
    ["", "null", "[" * 100_000, '{"model":' * 100_000, '{"version": "1.0", "model": {}}', "\0"],
)
def test_a_tokenizer_that_is_none_is_an_error_and_no_crash(definition: str) -> None:
    with pytest.raises(ValueError, match=r"tokenizer\.json cannot be read"):
        Tokenizer(definition, max_length=64)


def graph(node: onnx.NodeProto, *initializers: TensorProto) -> Graph:
    """Make a graph of one node beside what the manifest says it takes."""
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT32, ["batch", "sequence"])
        for name in INPUTS
    ]
    output = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, None)
    model = helper.make_model(
        helper.make_graph([node], "hostile", inputs, [output], initializers),
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("hostile", 1)],
        ir_version=10,
    )
    return Graph(
        name="hostile", content=model.SerializeToString(), inputs=INPUTS, output="embedding",
        outputs=4,
    )  # fmt: skip


def load(hostile: Graph) -> Session:
    return Session(hostile, threads=1, exclusive_threads=1)


def outside(location: str, offset: int = 0) -> TensorProto:
    """Make weights that lie in another file."""
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4])
    weights.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", str(offset)), ("length", "16")):
        weights.external_data.add(key=key, value=value)
    return weights


@pytest.mark.parametrize("where", ["absolute", "above", "beside", "/proc/self/environ", "memory"])
def test_weights_in_other_files_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Nor at an address of this process's memory, as ONNX Runtime marks its own."""
    monkeypatch.chdir(tmp_path)
    secret = tmp_path / "secret.bin"
    secret.write_bytes(b"secretsecretsecr")
    location = {
        "absolute": str(secret),
        "above": os.path.relpath(secret, "/tmp/semserve-any"),  # noqa: S108  (no file is made)
        "beside": "secret.bin",
        "memory": "*/_ORT_MEM_ADDR_/*",
    }.get(where, where)
    node = helper.make_node("Identity", ["w"], ["embedding"])
    with pytest.raises(BundleError, match="ONNX Runtime cannot load it"):
        load(graph(node, outside(location, offset=4096 if where == "memory" else 0)))


@pytest.mark.parametrize("domain", ["hostile", "com.microsoft", "ai.onnx.contrib"])
def test_operators_that_are_not_the_runtimes_own_are_refused(domain: str) -> None:
    """Nothing in a bundle can name a library of its own, and none is registered."""
    node = helper.make_node("Run", ["token_ids"], ["embedding"], domain=domain)
    with pytest.raises(BundleError, match="ONNX Runtime cannot load it"):
        load(graph(node))


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, b"ORTM" * 100, b"\x08\x01" * 10_000])
def test_bytes_that_are_no_graph_are_refused(content: bytes) -> None:
    hostile = Graph(name="hostile", content=content, inputs=INPUTS, output="embedding", outputs=4)
    with pytest.raises(BundleError, match="ONNX Runtime cannot load it"):
        load(hostile)
