"""A bundle on disk: its validated manifest, and its verified files.

A bundle is untrusted input until it was read here: JSON is bounded and typed, unknown fields are
refused, file names stay inside the directory, links are not followed, and every byte is hashed
before it is used. A bundle contains no code.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
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
    Operator,
    Prompt,
    PromptName,
    Side,
    Strict,
    TextName,
    Tolerance,
    Words,
)
from semserve_server.repository.golden_answers import Golden
from semserve_server.runtime.tokenizer import PairTruncation

SCHEMA_VERSION = 1
MAX_JSON_BYTES = 16 * 1024 * 1024
"""Most bytes of a manifest, golden answers or a tokenizer. BERT's tokenizer.json has 0.7 MB."""
MAX_FILE_BYTES = 2**31 - 1
"""Most bytes of a file: protobuf, and so an ONNX graph, cannot be larger."""

VERIFYING_THREADS = 2
"""Files of a bundle that are hashed at the same time. MiniLM's bundle has three large ones."""


class File(Strict, frozen=True, kw_only=True):
    """Size and digest of a file of the bundle."""

    sha256: Digest
    bytes: Annotated[int, Meta(ge=0, le=MAX_FILE_BYTES)]


class Variant(Strict, frozen=True, kw_only=True):
    """A graph of the model, with its measured difference from `reference`.

    The reference of the portable graph is Keras. The reference of another graph is the portable
    graph, and the optional fields depend on its task.
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
    """Description of the quantisation, if the graph is quantised."""
    cpu_operators: Annotated[list[Operator], Meta(max_length=64)] | None = None
    """Operators that may run on the CPU while the graph is on a GPU. None by default: the server
    refuses to load such a graph on a GPU."""


class Weights(Strict, frozen=True, kw_only=True):
    """The origin of the weights."""

    source: Words
    sha256: Digest | None = None
    """Digest of the files of the weights; see the export's documentation."""
    adapter_sha256: Digest | None = None
    """Digest of the adapter that was applied to the weights."""


class Manifest(Strict, frozen=True, kw_only=True):
    """`bundle.json`: the description of the model. The export's documentation has the fields."""

    schema_version: Literal[1]
    model: Name
    description: Words = ""
    task: Literal["embedding", "classification", "score", "sparse_embedding"]
    inputs: Annotated[list[Input], Meta(min_length=1, max_length=4)]
    output: Literal["embedding", "logits", "weights"]
    """Float32 [batch, outputs]. `weights` are not negative, and 0 for tokens without a weight."""
    pair: bool
    """Whether an input is a pair of texts."""
    pair_inputs: Literal["joined", "separate"] | None = None
    """How the graph takes a pair: joined in one sequence (the default), or as separate
    sequences, the second one in the input `token_ids_right`."""
    text_order: Annotated[list[TextName], Meta(min_length=2, max_length=2)] | None = None
    """Order of the texts of a pair in the encoding; premise, hypothesis by default."""
    pair_truncation: PairTruncation | None = None
    """Which text of a joined pair is cut; `longest_first` by default."""
    sides: Annotated[list[Side], Meta(min_length=2, max_length=2)] | None = None
    """The sides of a model with an encoder for each; the input `side` is 0 for left, 1 for
    right."""
    prompts: Annotated[dict[PromptName, Prompt], Meta(max_length=64)] | None = None
    """Texts that can be put before each text, by name."""
    default_prompt: PromptName | None = None
    """Prompt of requests that name none."""
    pooling: Words | None = None
    normalized: bool | None = None
    dimensions: Count | None = None
    labels: Annotated[list[Label], Meta(min_length=2, max_length=4096)] | None = None
    scores: Literal["softmax", "sigmoid", "none"] | None = None
    """Function from logits to scores. Default for a classifier: softmax. `none` keeps the
    logits."""
    metric: Literal["cosine", "dot", "euclidean", "manhattan"] | None = None
    activation: Words | None = None
    max_sequence_length: Annotated[int, Meta(ge=3, le=65_536)]
    truncation: Literal["end", "start"]
    """Where a text with too many tokens is cut, unless the request sets it."""
    padded_length: Annotated[int, Meta(ge=3, le=65_536)] | None = None
    """Length to which every sequence is padded with zeros, for models without a mask. Without
    it, sequences are padded to the longest of a batch."""
    padding: Literal["end", "start"] | None = None
    """Position of the padding of `padded_length`; the end by default."""
    tokenizer_sha256: Digest
    files: Annotated[dict[Name, File], Meta(max_length=64)]
    versions: Annotated[dict[Words, Words], Meta(max_length=64)]
    weights: Weights
    variants: Annotated[dict[Name, Variant], Meta(min_length=1, max_length=16)]

    @property
    def outputs(self) -> int:
        """Size of the model's result for a text or pair."""
        if self.task == "score":
            return 1
        return len(self.labels or ()) if self.dimensions is None else self.dimensions

    @property
    def separate(self) -> bool:
        """Whether the two texts of a pair are separate inputs of the graph."""
        return self.pair_inputs == "separate"

    @property
    def hypothesis_first(self) -> bool:
        """Whether the hypothesis precedes the premise in the encoding of a pair."""
        return self.text_order is not None and self.text_order[0] == "hypothesis"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle with verified files."""

    directory: Path
    manifest: Manifest
    golden: Golden
    tokenizer: str
    """Content of `tokenizer.json`."""
    digest: str
    """SHA-256 of the manifest, which contains the digest of every other file. Identifies the
    bundle."""


def read_manifest(directory: Path) -> tuple[Manifest, str]:
    """Read and validate the manifest of the bundle in `directory`, without its other files.

    Returns:
        The manifest, and the bundle's digest.

    Raises:
        BundleError: the manifest is missing, too large, malformed or contradictory.
    """
    path = directory / "bundle.json"
    content = bundle_files.read(path, most=MAX_JSON_BYTES)
    manifest = _decode(path, content, Manifest)
    for problem in contradictions(manifest, max_json_bytes=MAX_JSON_BYTES):
        raise BundleError(f"{path}: {problem}")
    return manifest, hashlib.sha256(content).hexdigest()


def read_bundle(directory: Path) -> Bundle:
    """Read and verify the bundle in `directory`.

    Raises:
        BundleError: a file is missing, too large or malformed, or differs from the manifest.
    """
    manifest, digest = read_manifest(directory)
    _verify(directory, manifest)
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


def _verify(directory: Path, manifest: Manifest) -> None:
    """Verify all files of a bundle, several at the same time.

    Raises:
        BundleError: a file is missing, or differs from the manifest.
    """

    def verify(name: str) -> None:
        file = manifest.files[name]
        bundle_files.verify(directory / name, sha256=file.sha256, size=file.bytes)

    with ThreadPoolExecutor(VERIFYING_THREADS) as threads:
        for _ in threads.map(verify, manifest.files):
            pass


def read_graph(bundle: Bundle, variant: str) -> bytes:
    """Return the content of a variant's graph, verified by its digest.

    The server loads this content: a file could change between its verification and its loading, and
    a graph that is loaded from a path may read other files in its directory.

    Raises:
        BundleError: the file has changed or cannot be read.
    """
    return _content(bundle.directory, bundle.manifest, bundle.manifest.variants[variant].file)


def find_bundles(models: Path) -> list[Path]:
    """Return the bundle directories in `models`, sorted. `models` may itself be a bundle.

    Raises:
        BundleError: there are none.
    """
    if (models / "bundle.json").is_file():
        return [models]
    if not models.is_dir():
        raise BundleError(
            f"{models}: the directory does not exist: run `make models`, or name another"
        )
    # A directory without a manifest is an unfinished export.
    found = sorted(path.parent for path in models.glob("*/bundle.json"))
    found = [path for path in found if not path.name.startswith(".")]
    if not found:
        raise BundleError(f"{models}: contains no bundle: run `make models`, or name another")
    return found


def _content(directory: Path, manifest: Manifest, name: str) -> bytes:
    """Return the verified content of a file. The type of the name excludes path separators."""
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
