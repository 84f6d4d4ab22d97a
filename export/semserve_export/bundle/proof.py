"""Checks a bundle by the server's rules: its files, its tokenizer and its golden answers.

The export checks each bundle before it is moved to its directory; `verify` checks it again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from semserve_export.bundle.golden import encode_cases, golden_differences, golden_rows
from semserve_export.bundle.layout import GOLDEN, TOKENIZER, read_bundle_json, read_manifest
from semserve_export.bundle.schema import require_golden
from semserve_export.bundle.tolerance import onnx_run
from semserve_export.errors import BundleError, FidelityError
from semserve_export.tokenizers.bert_wordpiece import Encoding


@dataclass(frozen=True, slots=True)
class Check:
    """One measurement and its limit."""

    name: str
    measured: float
    bound: float

    @property
    def holds(self) -> bool:
        """Whether the measurement is within its limit; NaN never is."""
        return self.measured <= self.bound


@dataclass(frozen=True, slots=True)
class StoredBundle:
    """A bundle with verified digests."""

    directory: Path
    manifest: dict[str, Any]
    golden: dict[str, Any]
    tokenizer: Tokenizer

    def graph(self, variant: str) -> Path:
        """Return the file of a variant's graph."""
        return self.directory / str(self.manifest["variants"][variant]["file"])


def read_bundle(directory: Path) -> StoredBundle:
    """Read a bundle, and make all checks that do not need a run of the graph.

    Raises:
        BundleError: a file is missing, differs from its digest, or would be refused by the server.
    """
    manifest, golden = read_manifest(directory), read_bundle_json(directory / GOLDEN)
    require_golden(golden, str(directory / GOLDEN))
    for place, case in enumerate(golden["cases"]):
        fields = {"premise", "hypothesis"} if manifest["pair"] else {"text"}
        if {name for name in ("text", "premise", "hypothesis") if case.get(name)} != fields:
            raise BundleError(f"{directory / GOLDEN}: cases[{place}] contradicts `pair`")
        if case.get("side") not in (manifest.get("sides") or [None]):
            raise BundleError(f"{directory / GOLDEN}: cases[{place}] contradicts `sides`")
    try:
        tokenizer = Tokenizer.from_file(str(directory / TOKENIZER))
    except Exception as error:  # the library raises only Exception
        raise BundleError(f"{directory / TOKENIZER}: cannot be read: {error}") from error
    return StoredBundle(directory, manifest, golden, tokenizer)


def golden_checks(bundle: StoredBundle) -> Iterator[Check]:
    """Measure the golden answers as the server does when it loads a bundle, for every variant.

    Raises:
        BundleError: ONNX Runtime cannot load a graph, or a graph has unexpected outputs.
    """
    manifest, cases = bundle.manifest, bundle.golden["cases"]
    encodings = encode_cases(bundle.tokenizer, cases, manifest)
    yield Check("golden cases tokenised otherwise", _tokenised_otherwise(cases, encodings), 0)
    outputs = manifest["dimensions"] or len(manifest["labels"] or ["score"])
    try:
        expected = golden_rows(cases, manifest["output"], outputs)
    except BundleError as error:
        raise BundleError(f"{bundle.directory}/{error}") from error
    for name, variant in manifest["variants"].items():
        bound = max(variant["tolerance"], bundle.golden["tolerance"])
        run = onnx_run(bundle.graph(name))
        alone, padded = golden_differences(expected, encodings, run)
        yield Check(f"{name}: golden answers, one by one", alone, bound)
        yield Check(f"{name}: golden answers, in padded batches", padded, bound)


def prove_bundle(directory: Path) -> None:
    """Make all checks of the server on a bundle.

    Raises:
        BundleError: as `read_bundle` and `golden_checks`.
        FidelityError: a variant does not reproduce the golden answers of Keras.
    """
    for check in golden_checks(read_bundle(directory)):
        if not check.holds:
            raise FidelityError(
                f"{directory.name}: {check.name}: {check.measured:.2g}, at most {check.bound:.2g}"
                " is allowed; nothing was written"
            )


def _tokenised_otherwise(cases: Sequence[dict[str, Any]], encodings: Sequence[Encoding]) -> int:
    return sum(
        case["token_ids"] != list(encoding.token_ids)
        or case["segment_ids"] != list(encoding.segment_ids)
        or case.get("token_ids_right", []) != list(encoding.right or ())
        for case, encoding in zip(cases, encodings, strict=True)
    )
