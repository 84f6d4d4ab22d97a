"""Check a bundle as it lies on disk: its digests, its golden answers, and Keras once more."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from semserve_export.bundle import GOLDEN, TOKENIZER, read_json, read_manifest
from semserve_export.export import comparison_batches
from semserve_export.fidelity import Run, keras_run, largest_difference, onnx_run
from semserve_export.golden import case_text
from semserve_export.model import LoadedModel
from semserve_export.quality import bar_of, held_out_batches, measure
from semserve_export.spec import Variant
from semserve_export.tokenizer import Encoding, encode, pad


@dataclass(frozen=True, slots=True)
class Check:
    """One thing measured, and the most it may be."""

    name: str
    measured: float
    bound: float

    @property
    def holds(self) -> bool:
        """Whether the measure is within its bound; a NaN never is."""
        return self.measured <= self.bound


def verify_bundle(directory: Path, model: LoadedModel | None) -> Iterator[Check]:
    """Measure a bundle, check by check.

    Args:
        directory: the bundle.
        model: what it was exported from, where that is known: it is compared with it anew.

    Raises:
        BundleError: a file is missing or is not the one that the manifest names.
    """
    manifest = read_manifest(directory)
    golden = read_json(directory / GOLDEN)
    cases, tolerance = golden["cases"], golden["tolerance"]
    tokenizer = Tokenizer.from_file(str(directory / TOKENIZER))
    encodings = encode(tokenizer, map(case_text, cases), manifest["max_sequence_length"])
    yield Check("golden cases tokenised otherwise", _tokenised_otherwise(cases, encodings), 0)
    expected = np.array([case[manifest["output"]] for case in cases], np.float32)
    for name, variant in manifest["variants"].items():
        run, bound = onnx_run(directory / variant["file"]), variant["tolerance"]
        yield Check(f"{name}: golden answers, one by one", _alone(run, encodings, expected), bound)
        together = float(np.abs(run(pad(encodings)) - expected).max())
        yield Check(f"{name}: golden answers, in one padded batch", together, max(bound, tolerance))
        if name != "portable":
            yield from _against_portable(directory, manifest, name, tokenizer)
        elif model:
            batches = comparison_batches(model)
            reference = keras_run(model.keras_model, model.spec.inputs)
            difference = largest_difference(reference, run, batches)
            yield Check(f"{name}: Keras, on {len(batches)} padded batches", difference, bound)


def _against_portable(
    directory: Path, manifest: dict[str, Any], name: Variant, tokenizer: Tokenizer
) -> Iterator[Check]:
    """Measure a variant anew, as it was before it was written."""
    length, pair = manifest["max_sequence_length"], manifest["pair"]
    graphs = (manifest["variants"][variant]["file"] for variant in ("portable", name))
    reference, other = (onnx_run(directory / graph) for graph in graphs)
    batches = held_out_batches(name, tokenizer, length, pair=pair)
    quality = measure(reference, other, manifest["task"], batches)
    for what, measured, bound, _ in bar_of(name, manifest["task"]).shortfalls(quality):
        yield Check(f"{name}: {what}, distance from portable", measured, bound)


def _tokenised_otherwise(cases: list[dict[str, Any]], encodings: list[Encoding]) -> int:
    return sum(
        case["token_ids"] != list(encoding.token_ids)
        or case["segment_ids"] != list(encoding.segment_ids)
        for case, encoding in zip(cases, encodings, strict=True)
    )


def _alone(run: Run, encodings: list[Encoding], expected: Any) -> float:
    rows = np.concatenate([run(pad([encoding])) for encoding in encodings])
    return float(np.abs(rows - expected).max())
