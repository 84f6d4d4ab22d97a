"""Checks a bundle on the disk: its digests, its golden answers, and the difference from Keras."""

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from tokenizers import Tokenizer

from semserve_export.bundle.proof import Check, StoredBundle, golden_checks, read_bundle
from semserve_export.bundle.tolerance import compare, keras_run, onnx_run
from semserve_export.model_spec import HYPOTHESIS_FIRST, Variant
from semserve_export.models.loaded_model import LoadedModel
from semserve_export.pipeline.export import comparison_batches
from semserve_export.variants.gates import gate_for, held_out_batches, measure


def verify_bundle(directory: Path, model: LoadedModel | None) -> Iterator[Check]:
    """Yield the checks of a bundle.

    Args:
        directory: the bundle.
        model: the exported model, if it is known: the bundle is compared with it again.

    Raises:
        BundleError: a file is missing or differs from the manifest, or the server would refuse the
            bundle.
    """
    bundle = read_bundle(directory)
    yield from golden_checks(bundle)
    for name in bundle.manifest["variants"]:
        if name in get_args(Variant):
            yield from _against_portable(bundle, name)
    if model:
        # Read from its file, because a built tokenizer has state that is not in the file.
        built = Tokenizer.from_str(model.tokenizer.to_str())
        other = int(built.to_str() != bundle.tokenizer.to_str())
        yield Check("tokenizer.json: differs from the source's", other, 0)
        batches = comparison_batches(model)
        reference = keras_run(model.keras_model, model.spec.inputs)
        difference = compare(reference, onnx_run(bundle.graph("portable")), batches).scaled
        bound = bundle.manifest["variants"]["portable"]["tolerance"]
        yield Check(f"portable: Keras, on {len(batches)} padded batches", difference, bound)


def _against_portable(bundle: StoredBundle, name: Variant) -> Iterator[Check]:
    """Measure a variant again, as at its export."""
    length, pair = bundle.manifest["max_sequence_length"], bundle.manifest["pair"]
    hypothesis_first = bundle.manifest.get("text_order") == list(HYPOTHESIS_FIRST)
    reference, other = (onnx_run(bundle.graph(variant)) for variant in ("portable", name))
    batches = held_out_batches(
        name, bundle.tokenizer, length, pair=pair, hypothesis_first=hypothesis_first
    )
    quality = measure(reference, other, bundle.manifest["task"], batches)
    for what, measured, bound, _ in gate_for(name, bundle.manifest["task"]).measures(quality):
        yield Check(f"{name}: {what}, distance from portable", measured, bound)
