"""A bundle on disk: its manifest, checked, and its files, proved to be the ones it names.

A bundle is hostile input until it has been read here: JSON is bounded and typed, unknown fields are
refused, names stay inside the directory, links are not followed, and every byte that will be used
is hashed first. Nothing in it is code.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from semserve_server.errors import BundleError
from semserve_server.repository import bundle_files

SCHEMA_VERSION = 1
MAX_JSON_BYTES = 16 * 1024 * 1024
"""Most bytes of a manifest, golden answers or tokenizer: BERT's tokenizer.json has 0.7 MB."""
MAX_FILE_BYTES = 2**31 - 1
"""Most bytes of a file: protobuf, and so a graph, holds no more."""

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")]
"""A model's or a file's name: no path, nothing hidden, nothing that a shell would read."""
Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Tolerance = Annotated[float, Meta(gt=0, le=1)]
"""Most that a row may differ from golden answers: `golden.scaled_difference`."""
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Words = Annotated[str, Meta(max_length=512)]
Label = Annotated[str, Meta(min_length=1, max_length=256)]
Input = Literal["token_ids", "segment_ids", "padding_mask"]
Ids = Annotated[list[int], Meta(min_length=1, max_length=65_536)]
Numbers = Annotated[list[float], Meta(min_length=1, max_length=65_536)]


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A JSON object in which only the declared fields may stand."""


class File(_Strict, frozen=True, kw_only=True):
    """A file of the bundle, as it was written."""

    sha256: Digest
    bytes: Annotated[int, Meta(ge=0, le=MAX_FILE_BYTES)]


class Variant(_Strict, frozen=True, kw_only=True):
    """A graph of the model, with its measured distance from `reference`.

    The portable graph's is Keras; another's is the portable graph, and its further figures are
    those of its task.
    """

    file: Name
    precision: Words
    tolerance: Tolerance
    max_abs_difference: float
    reference: Words
    cosine_mean: float | None = None
    cosine_min: float | None = None
    label_agreement: float | None = None
    max_probability_difference: float | None = None
    scheme: Words | None = None
    """How numbers are rounded, in words, where they are."""


class Weights(_Strict, frozen=True, kw_only=True):
    """Where the weights came from."""

    source: Words
    sha256: Digest | None = None
    """Of the weights' files: see the export's documentation."""
    adapter_sha256: Digest | None = None
    """Of the adapter that was applied to them."""


class Manifest(_Strict, frozen=True, kw_only=True):
    """`bundle.json`: what the model is. The fields are those of the export's documentation."""

    schema_version: Literal[1]
    model: Name
    description: Words = ""
    task: Literal["embedding", "classification"]
    inputs: Annotated[list[Input], Meta(min_length=2, max_length=3)]
    output: Literal["embedding", "logits"]
    pair: bool
    pooling: Words | None = None
    normalized: bool | None = None
    dimensions: Count | None = None
    labels: Annotated[list[Label], Meta(min_length=2, max_length=4096)] | None = None
    scores: Literal["softmax", "sigmoid"] | None = None
    """How a classifier's logits become scores: softmax where it is left out or null."""
    metric: Literal["cosine", "dot", "euclidean", "manhattan"] | None = None
    activation: Words | None = None
    max_sequence_length: Annotated[int, Meta(ge=3, le=65_536)]
    truncation: Literal["end"]
    tokenizer_sha256: Digest
    files: Annotated[dict[Name, File], Meta(max_length=64)]
    versions: Annotated[dict[Words, Words], Meta(max_length=64)]
    weights: Weights
    variants: Annotated[dict[Name, Variant], Meta(min_length=1, max_length=16)]

    @property
    def outputs(self) -> int:
        """How many numbers the model gives for a text or pair."""
        return len(self.labels or ()) if self.dimensions is None else self.dimensions


class GoldenCase(_Strict, frozen=True, kw_only=True):
    """One text or pair with what Keras itself gave for it, alone and unpadded."""

    text: str | None = None
    premise: str | None = None
    hypothesis: str | None = None
    token_ids: Ids
    segment_ids: Ids
    embedding: Numbers | None = None
    logits: Numbers | None = None

    @property
    def item(self) -> str | tuple[str, str]:
        """The text, or the pair."""
        if self.premise is not None and self.hypothesis is not None:
            return self.premise, self.hypothesis
        return self.text or self.premise or ""

    @property
    def row(self) -> NDArray[np.float32]:
        """What the model should give: float32 [outputs]."""
        return np.array(self.embedding or self.logits or (), np.float32)


class Golden(_Strict, frozen=True, kw_only=True):
    """`golden.json`: the answers that the server must reproduce before it serves."""

    schema_version: Literal[1]
    tolerance: Tolerance
    cases: Annotated[list[GoldenCase], Meta(min_length=1, max_length=1024)]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose files have been proved."""

    directory: Path
    manifest: Manifest
    golden: Golden
    tokenizer: str
    """The text of `tokenizer.json`."""
    digest: str
    """SHA-256 of the manifest, which names every other file's: the bundle's identity."""


def read_manifest(directory: Path) -> tuple[Manifest, str]:
    """Read what the bundle in `directory` says of itself, without its other files.

    Returns:
        The manifest, and the bundle's digest.

    Raises:
        BundleError: it is missing, too large, malformed, or contradicts itself.
    """
    path = directory / "bundle.json"
    content = bundle_files.read(path, most=MAX_JSON_BYTES)
    manifest = _decode(path, content, Manifest)
    _check_consistency(directory, manifest)
    return manifest, hashlib.sha256(content).hexdigest()


def read_bundle(directory: Path) -> Bundle:
    """Read and prove the bundle in `directory`.

    Raises:
        BundleError: something is missing, too large, malformed, or not what the manifest says.
    """
    manifest, digest = read_manifest(directory)
    for name, file in manifest.files.items():
        bundle_files.prove(directory / name, sha256=file.sha256, size=file.bytes)
    golden = _content(directory, manifest, "golden.json")
    return Bundle(
        directory=directory,
        manifest=manifest,
        golden=_decode(directory / "golden.json", golden, Golden),
        tokenizer=_text(
            directory / "tokenizer.json", _content(directory, manifest, "tokenizer.json")
        ),
        digest=digest,
    )


def read_graph(bundle: Bundle, variant: str) -> bytes:
    """Return the bytes of a variant's graph, proved to be those that the manifest names.

    They are what is to be loaded: a file could change between its proof and its loading, and a
    graph loaded from a path may pull in files beside it.

    Raises:
        BundleError: the file has changed or cannot be read.
    """
    return _content(bundle.directory, bundle.manifest, bundle.manifest.variants[variant].file)


def find_bundles(models: Path) -> list[Path]:
    """Return the bundle directories of `models`, sorted; `models` may itself be one.

    Raises:
        BundleError: there are none.
    """
    if (models / "bundle.json").is_file():
        return [models]
    if not models.is_dir():
        raise BundleError(f"{models}: no such directory: run `make models`, or name another")
    # A directory without a manifest is an export that has not finished, and no bundle.
    found = sorted(path.parent for path in models.glob("*/bundle.json"))
    found = [path for path in found if not path.name.startswith(".")]
    if not found:
        raise BundleError(f"{models}: holds no bundle: run `make models`, or name another")
    return found


def _check_consistency(directory: Path, manifest: Manifest) -> None:
    """Check what a schema cannot say: that the fields agree with each other."""
    embeds = manifest.task == "embedding"
    problems = {
        "an embedding model needs output, dimensions, pooling, normalized and metric": embeds
        and (
            manifest.output != "embedding"
            or None in (manifest.dimensions, manifest.normalized, manifest.metric)
            or not manifest.pooling
        ),
        "a classifier needs output logits and labels, each once, and no dimensions": not embeds
        and (
            manifest.output != "logits"
            or manifest.dimensions is not None
            or not manifest.labels
            or len(set(manifest.labels)) != len(manifest.labels)
        ),
        "an embedding model takes single texts": embeds and manifest.pair,
        "an embedding model has no labels and no scores": embeds
        and (manifest.labels is not None or manifest.scores is not None),
        "inputs need token_ids and padding_mask, each once": sorted(set(manifest.inputs))
        != sorted(manifest.inputs)
        or not {"token_ids", "padding_mask"} <= set(manifest.inputs),
        "there is no variant `portable`": "portable" not in manifest.variants,
        "files must list tokenizer.json, golden.json and every variant": not (
            {"tokenizer.json", "golden.json"} | {v.file for v in manifest.variants.values()}
        )
        <= set(manifest.files),
        f"tokenizer.json and golden.json have at most {MAX_JSON_BYTES} bytes": any(
            manifest.files[name].bytes > MAX_JSON_BYTES
            for name in {"tokenizer.json", "golden.json"} & set(manifest.files)
        ),
    }
    for problem, found in problems.items():
        if found:
            raise BundleError(f"{directory / 'bundle.json'}: {problem}")
    if manifest.files["tokenizer.json"].sha256 != manifest.tokenizer_sha256:
        raise BundleError(f"{directory / 'bundle.json'}: tokenizer_sha256 contradicts files")


def _content(directory: Path, manifest: Manifest, name: str) -> bytes:
    """Return a file's bytes; names have no separators by their type."""
    file = manifest.files[name]
    return bundle_files.read_verified(directory / name, sha256=file.sha256, size=file.bytes)


def _text(path: Path, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise BundleError(f"{path}: {error}") from error


_T = TypeVar("_T")


def _decode(path: Path, content: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(f"{path}: {error}") from error
