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
from msgspec import Meta

from semserve_server.errors import BundleError
from semserve_server.repository import bundle_files
from semserve_server.repository.consistency import contradictions
from semserve_server.repository.field_types import (
    Count,
    Digest,
    Input,
    Label,
    Name,
    Prompt,
    PromptName,
    Side,
    Strict,
    TextName,
    Tolerance,
    Words,
)
from semserve_server.repository.golden_answers import Golden

SCHEMA_VERSION = 1
MAX_JSON_BYTES = 16 * 1024 * 1024
"""Most bytes of a manifest, golden answers or tokenizer: BERT's tokenizer.json has 0.7 MB."""
MAX_FILE_BYTES = 2**31 - 1
"""Most bytes of a file: protobuf, and so a graph, holds no more."""


class File(Strict, frozen=True, kw_only=True):
    """A file of the bundle, as it was written."""

    sha256: Digest
    bytes: Annotated[int, Meta(ge=0, le=MAX_FILE_BYTES)]


class Variant(Strict, frozen=True, kw_only=True):
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
    rank_correlation: float | None = None
    """Of the scores of a model of one output: Spearman's."""
    scheme: Words | None = None
    """How numbers are rounded, in words, where they are."""


class Weights(Strict, frozen=True, kw_only=True):
    """Where the weights came from."""

    source: Words
    sha256: Digest | None = None
    """Of the weights' files: see the export's documentation."""
    adapter_sha256: Digest | None = None
    """Of the adapter that was applied to them."""


class Manifest(Strict, frozen=True, kw_only=True):
    """`bundle.json`: what the model is. The fields are those of the export's documentation."""

    schema_version: Literal[1]
    model: Name
    description: Words = ""
    task: Literal["embedding", "classification", "score", "sparse_embedding"]
    inputs: Annotated[list[Input], Meta(min_length=1, max_length=4)]
    output: Literal["embedding", "logits", "weights"]
    """Float32 [batch, outputs]; `weights` are not negative, and 0 where the text has no weight."""
    pair: bool
    """Whether an input is a pair of texts."""
    pair_inputs: Literal["joined", "separate"] | None = None
    """How the graph takes a pair: as one sequence (where left out), or as two: the second text's
    ids are then the input `token_ids_right`."""
    text_order: Annotated[list[TextName], Meta(min_length=2, max_length=2)] | None = None
    """Which text of a pair comes first in the encoding: premise, hypothesis where left out."""
    sides: Annotated[list[Side], Meta(min_length=2, max_length=2)] | None = None
    """Of a model with one encoder for each side; the input `side` is 0 for left, 1 for right."""
    prompts: Annotated[dict[PromptName, Prompt], Meta(max_length=64)] | None = None
    """Texts that may be put before each text, by their names."""
    default_prompt: PromptName | None = None
    """The prompt of requests that name none."""
    pooling: Words | None = None
    normalized: bool | None = None
    dimensions: Count | None = None
    labels: Annotated[list[Label], Meta(min_length=2, max_length=4096)] | None = None
    scores: Literal["softmax", "sigmoid", "none"] | None = None
    """How logits become scores: of a classifier softmax where left out; `none` leaves them."""
    metric: Literal["cosine", "dot", "euclidean", "manhattan"] | None = None
    activation: Words | None = None
    max_sequence_length: Annotated[int, Meta(ge=3, le=65_536)]
    truncation: Literal["end", "start"]
    """Where a text of too many tokens is cut unless a request says otherwise."""
    padded_length: Annotated[int, Meta(ge=3, le=65_536)] | None = None
    """The length that every sequence is padded to, with zeros: for models without a mask. Left out:
    sequences are padded to the longest of a batch."""
    padding: Literal["end", "start"] | None = None
    """Where the zeros of `padded_length` stand: at the end where left out."""
    tokenizer_sha256: Digest
    files: Annotated[dict[Name, File], Meta(max_length=64)]
    versions: Annotated[dict[Words, Words], Meta(max_length=64)]
    weights: Weights
    variants: Annotated[dict[Name, Variant], Meta(min_length=1, max_length=16)]

    @property
    def outputs(self) -> int:
        """How many numbers the model gives for a text or pair."""
        if self.task == "score":
            return 1
        return len(self.labels or ()) if self.dimensions is None else self.dimensions

    @property
    def separate(self) -> bool:
        """Whether the two texts of a pair are separate inputs of the graph."""
        return self.pair_inputs == "separate"

    @property
    def hypothesis_first(self) -> bool:
        """Whether the hypothesis stands before the premise in the encoding of a pair."""
        return self.text_order is not None and self.text_order[0] == "hypothesis"


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
    for problem in contradictions(manifest, max_json_bytes=MAX_JSON_BYTES):
        raise BundleError(f"{path}: {problem}")
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
