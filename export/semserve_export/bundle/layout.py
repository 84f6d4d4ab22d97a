"""The files of a bundle, which are written to a temporary directory and then moved in one step."""

import importlib.metadata
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from semserve_export.bundle.schema import max_json_bytes, require_manifest
from semserve_export.errors import BundleError, ExportError
from semserve_export.files.atomic_directory import put_in_place, scratch_directory
from semserve_export.files.digest import sha256_of
from semserve_export.model_spec import PREMISE_FIRST, ModelSpec

SCHEMA_VERSION = 1
MANIFEST = "bundle.json"
GRAPH = "model.onnx"
TOKENIZER = "tokenizer.json"
GOLDEN = "golden.json"
LICENCE = "LICENSE"
NOTICE = "NOTICE"
DISTRIBUTIONS = (
    "semserve-export",
    "keras",
    "keras-hub",
    "tensorflow",
    "tf2onnx",
    "onnx",
    "onnxruntime",
    "tokenizers",
)


def write_bundle(
    directory: Path,
    fill: Callable[[Path], Mapping[str, Any]],
    prove: Callable[[Path], None] = lambda _: None,
) -> None:
    """Write a bundle. It replaces an older bundle only when it is complete.

    Args:
        directory: the directory of the bundle; a missing parent is created.
        fill: writes all files except the manifest to the given directory, and returns the manifest.
            If it raises an error, nothing is left and an older bundle is unchanged.
        prove: called with the complete bundle before it is moved; an error has the same effect.

    Raises:
        ExportError: the directory cannot be written, or contains something that is not a bundle.
    """
    require_writable(directory)
    try:
        with scratch_directory(directory) as scratch:
            written = scratch / directory.name
            written.mkdir()
            write_json(written / MANIFEST, fill(written))
            prove(written)
            require_writable(directory)  # again, because an export takes minutes
            put_in_place(written, directory, scratch)
    except OSError as error:
        raise ExportError(f"cannot write {directory}: {error.strerror or error}") from error


def require_writable(directory: Path) -> None:
    """Refuse a directory that cannot become a bundle: only an older bundle may be replaced.

    Raises:
        ExportError: the path is something else, or its parent directory cannot be written.
    """
    require_place(directory)
    if os.path.lexists(directory) and not (directory / MANIFEST).is_file():
        raise ExportError(f"{directory} is no bundle, so it is not replaced; choose another place")


def require_place(path: Path) -> None:
    """Refuse a path at which nothing can be created.

    Raises:
        ExportError: a parent of the path is not a directory, or cannot be written.
    """
    above = next(each for each in path.absolute().parents if os.path.lexists(each))
    if not above.is_dir():
        raise ExportError(f"cannot write {path}: {above} is no directory")
    if not os.access(above, os.W_OK | os.X_OK):
        raise ExportError(f"cannot write {path}: no permission to write in {above}")


def manifest_of(
    spec: ModelSpec,
    directory: Path,
    *,
    dimensions: int | None,
    weights: Mapping[str, str | None],
    variants: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Return the manifest of a model whose files are in a directory.

    Args:
        spec: the description of the model.
        directory: contains all files of the bundle except the manifest.
        dimensions: size of an embedding, or of the vocabulary for sparse vectors; None for other
            tasks.
        weights: the origin of the weights, and the digest of their file.
        variants: by name, each with its file, precision and measured differences.
    """
    files = {
        path.name: {"sha256": sha256_of(path), "bytes": path.stat().st_size}
        for path in sorted(directory.iterdir())
    }
    cut = spec.pair_truncation
    return {
        "schema_version": SCHEMA_VERSION,
        "model": spec.name,
        "description": spec.description,
        "task": spec.task,
        "inputs": list(spec.inputs),
        "output": spec.output,
        "pair": spec.pair,
        **({"sides": list(spec.sides)} if spec.sides else {}),
        **({"pair_inputs": "separate"} if spec.separate else {}),
        "text_order": list(spec.text_order or PREMISE_FIRST) if spec.pair else None,
        **({"pair_truncation": cut} if spec.pair and cut != "longest_first" else {}),
        "prompts": dict(spec.prompts) if spec.prompts else None,
        "default_prompt": spec.default_prompt,
        "pooling": spec.pooling,
        "normalized": spec.normalized,
        "dimensions": dimensions,
        "labels": list(spec.labels) if spec.labels else None,
        "scores": spec.scores or ("softmax" if spec.task == "classification" else None),
        "metric": spec.metric,
        "activation": spec.activation,
        "max_sequence_length": spec.max_sequence_length,
        "truncation": spec.truncation,
        "tokenizer_sha256": files[TOKENIZER]["sha256"],
        "files": files,
        "versions": {name: importlib.metadata.version(name) for name in DISTRIBUTIONS},
        "weights": dict(weights),
        "variants": {name: dict(variant) for name, variant in variants.items()},
    }


def read_manifest(directory: Path) -> dict[str, Any]:
    """Read a bundle's manifest, and verify the digest of every file.

    Raises:
        BundleError: a file is missing or changed, or another version wrote the bundle.
    """
    manifest = read_bundle_json(directory / MANIFEST)
    if manifest.get("schema_version") != SCHEMA_VERSION:
        raise BundleError(f"{directory}: not a bundle of schema version {SCHEMA_VERSION}")
    require_manifest(manifest, str(directory / MANIFEST))
    if missing := {LICENCE, NOTICE} - set(manifest["files"]):
        raise BundleError(f"{directory}: the manifest has no digest of {min(missing)}")
    for name, file in manifest["files"].items():
        path = directory / name
        if path.is_symlink() or not path.is_file():
            raise BundleError(f"{directory}: {name} is missing or no file; export the model again")
        if sha256_of(path) != file["sha256"]:
            raise BundleError(f"{path}: the sha256 is not the manifest's; export the model again")
    return manifest


def read_bundle_json(path: Path) -> dict[str, Any]:
    """Read a file of a bundle that contains one JSON object.

    Raises:
        BundleError: the file is missing, is too large for the server, or is not a JSON object.
    """
    try:
        if path.stat().st_size > max_json_bytes():
            raise BundleError(f"{path}: the server takes at most {max_json_bytes()} bytes")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path}: is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise BundleError(f"{path}: not a JSON object")
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write strict JSON in UTF-8, without NaN and infinity."""
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
