"""A bundle that does not add up is refused, with a line that says where."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from semserve_server.errors import BundleError
from semserve_server.registry.sessions import choose_variant
from semserve_server.repository import manifest as bundles
from semserve_server.repository.golden import verify_golden
from semserve_server.repository.manifest import find_bundles, read_bundle, read_graph
from semserve_server.runtime.tokenizer import Tokenizer
from sessions import load_session


@pytest.fixture
def copy(tiny_models: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_models / "tiny-embed", tmp_path / "tiny-embed"))


def edit(directory: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = directory / "bundle.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def test_a_whole_bundle_is_read(tiny_models: Path) -> None:
    bundle = read_bundle(tiny_models / "tiny-nli")
    assert ["entailment", "neutral", "contradiction"] == bundle.manifest.labels
    assert 3 == bundle.manifest.outputs


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "golden.json", "NOTICE"])
def test_a_changed_file_is_refused_by_name(copy: Path, name: str) -> None:
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(BundleError, match=f"{name}: its SHA-256"):
        read_bundle(copy)


@pytest.mark.parametrize("name", ["bundle.json", "model.onnx", "golden.json"])
def test_a_missing_file_is_refused_by_name(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(BundleError, match=f"{name}: No such file"):
        read_bundle(copy)


def test_a_truncated_file_is_refused_before_it_is_hashed(copy: Path) -> None:
    with (copy / "model.onnx").open("r+b") as file:
        file.truncate(10)
    with pytest.raises(BundleError, match="has 10 bytes"):
        read_bundle(copy)


def test_a_link_is_refused(copy: Path) -> None:
    (copy / "NOTICE").rename(copy / "elsewhere")
    (copy / "NOTICE").symlink_to(copy / "elsewhere")
    with pytest.raises(BundleError, match="not a regular file"):
        read_bundle(copy)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda m: m.update(schema_version=2), r"\$\.schema_version"),
        (lambda m: m.update(model="../x"), r"\$\.model"),
        (lambda m: m.update(model="x\n"), r"\$\.model"),
        (lambda m: m.update(pooling=None), "pooling"),
        (lambda m: m.update(surprise=1), "surprise"),
        (lambda m: m.update(max_sequence_length="many"), r"\$\.max_sequence_length"),
        (lambda m: m.update(task="classification"), "labels"),
        (lambda m: m.update(dimensions=None), "dimensions"),
        (lambda m: m.update(inputs=["token_ids", "segment_ids"]), "padding_mask"),
        (lambda m: m.update(tokenizer_sha256="0" * 64), "tokenizer_sha256"),
        (lambda m: m["files"].pop("golden.json"), "golden.json"),
        (lambda m: m["variants"]["portable"].update(file="../../etc/passwd"), r"\$\.variants"),
        (lambda m: m["variants"].clear(), r"\$\.variants"),
        (lambda m: m["files"].update({"../up": {"sha256": "0" * 64, "bytes": 0}}), r"files"),
    ],
)
def test_a_manifest_that_does_not_add_up_is_refused(
    copy: Path, change: Callable[[dict[str, Any]], object], says: str
) -> None:
    edit(copy, change)
    with pytest.raises(BundleError, match=says):
        read_bundle(copy)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[" * 100_000, b'{"schema_version": NaN}', b"\xff"]
)
def test_json_that_is_none_is_refused(copy: Path, content: bytes) -> None:
    (copy / "bundle.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"bundle\.json"):
        read_bundle(copy)


def test_json_over_its_bound_is_refused_unread(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "MAX_JSON_BYTES", 100)
    with pytest.raises(BundleError, match="over 100 bytes"):
        read_bundle(copy)


def test_golden_answers_that_do_not_hold_are_refused(tiny_models: Path) -> None:
    bundle = read_bundle(tiny_models / "tiny-embed")
    tokenizer = Tokenizer(bundle.tokenizer, max_length=bundle.manifest.max_sequence_length)
    session = load_session(bundle)
    assert verify_golden(bundle, tokenizer, session, tolerance=1e-5) <= 1e-5
    with pytest.raises(BundleError, match="differs from Keras"):
        verify_golden(bundle, tokenizer, session, tolerance=1e-12)


def test_the_variant_is_chosen_or_refused_by_name(copy: Path) -> None:
    manifest = read_bundle(copy).manifest
    fused = msgspec.structs.replace(
        manifest, variants=manifest.variants | {"fused": manifest.variants["portable"]}
    )
    portable = msgspec.structs.replace(
        manifest, variants={"portable": manifest.variants["portable"]}
    )
    assert "portable" == choose_variant(portable, "auto")
    assert "fused" == choose_variant(fused, "auto")
    assert "portable" == choose_variant(fused, "portable")
    with pytest.raises(BundleError, match="--variant int8: tiny-embed has portable"):
        choose_variant(portable, "int8")


def test_a_graph_that_changed_after_its_proof_is_not_loaded(copy: Path) -> None:
    bundle = read_bundle(copy)
    with (copy / "model.onnx").open("r+b") as file:
        file.write(b"\0")
    with pytest.raises(BundleError, match=r"model\.onnx: its SHA-256"):
        read_graph(bundle, "portable")


def test_bundles_are_found_and_hidden_or_unfinished_ones_are_not(
    copy: Path, tmp_path: Path
) -> None:
    shutil.copytree(copy, tmp_path / ".tiny-embed.unfinished")
    (tmp_path / "empty").mkdir()
    assert [copy] == find_bundles(tmp_path)
    assert [copy] == find_bundles(copy)


def test_a_directory_without_bundles_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="contains no bundle"):
        find_bundles(tmp_path)
    with pytest.raises(BundleError, match="the directory does not exist"):
        find_bundles(tmp_path / "none")
