"""Writes the faster graphs of a model, and compares each with the portable graph."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from semserve_export.bundle.golden import case_text, golden_differences, golden_rows
from semserve_export.bundle.layout import GOLDEN, GRAPH, read_bundle_json
from semserve_export.bundle.tolerance import onnx_run
from semserve_export.encoder_weights import EncoderWeights
from semserve_export.errors import FidelityError
from semserve_export.graphs.encoder_reader import is_encoder, read_encoder
from semserve_export.graphs.keras_to_onnx import save_graph
from semserve_export.model_spec import Variant
from semserve_export.models.loaded_model import LoadedModel
from semserve_export.tokenizers.bert_wordpiece import encode
from semserve_export.variants.activation_ranges import observe_ranges
from semserve_export.variants.fp16 import padded_graph
from semserve_export.variants.fused import fused_graph
from semserve_export.variants.gates import calibration_batches, gate_for, held_out_batches, measure
from semserve_export.variants.int8 import SCHEME, SCHEME_BUT_DOWN, int8_graph

Build = Callable[[], onnx.ModelProto]
Facts = Mapping[str, str]  # fields of a graph in the manifest


def add_variants(
    model: LoadedModel,
    names: Sequence[Variant],
    directory: Path,
    announce: Callable[[str], None],
    refused: Callable[[FidelityError], None],
) -> dict[str, dict[str, Any]]:
    """Write variants beside the portable graph, and return their entries of the manifest.

    Args:
        model: the model of the portable graph.
        names: the variants; ignored for a model whose layers are not those of BERT.
        directory: contains the portable graph; the variants are written to it.
        announce: called with what is done next, once a name.
        refused: called with each that is too far from the portable graph, which is then left out
            unless this raises the error.
    """
    if model.encoder is None and not is_encoder(model.keras_model):
        return {}
    weights = model.encoder or read_encoder(model.keras_model, model.spec.gelu)
    variants: dict[str, dict[str, Any]] = {}
    for name in names:
        announce(f"building and measuring {name}")
        try:
            variants[name] = _first_that_holds(name, model, weights, directory)
        except FidelityError as error:
            (directory / file_of(name)).unlink()
            refused(error)
    return variants


def file_of(name: Variant) -> str:
    """Return the file of a variant's graph."""
    return f"model.{name}.onnx"


def _first_that_holds(
    name: Variant, model: LoadedModel, weights: EncoderWeights, directory: Path
) -> dict[str, Any]:
    """Write the first form of a variant that meets its limits, and return its entry.

    Raises:
        FidelityError: no form does; the error is of the last one, whose file stays.
    """
    *quicker, last = _forms(name, model, weights)
    for build, facts in quicker:
        save_graph(build(), directory / file_of(name))
        with suppress(FidelityError):
            return _proved(name, model, directory) | dict(facts)
    build, facts = last
    save_graph(build(), directory / file_of(name))
    return _proved(name, model, directory) | dict(facts)


def _forms(name: Variant, model: LoadedModel, weights: EncoderWeights) -> list[tuple[Build, Facts]]:
    """Return the builders of the forms of a variant, the fastest graph first."""
    spec = model.spec
    if name == "fp16":
        return [(partial(padded_graph, weights, spec), {})]
    if name == "fused":
        return [(partial(fused_graph, weights, spec), {})]
    batches = calibration_batches(
        model.tokenizer,
        spec.max_sequence_length,
        pair=spec.pair,
        hypothesis_first=spec.hypothesis_first,
    )
    ranges = observe_ranges(weights, spec, batches)
    return [
        (partial(int8_graph, weights, spec, ranges), {"scheme": SCHEME}),
        (
            partial(int8_graph, weights, spec, ranges, down_in_fp32=True),
            {"scheme": SCHEME_BUT_DOWN},
        ),
    ]


def _require_golden(directory: Path, model: LoadedModel, name: Variant, tolerance: float) -> None:
    """Compare a variant with the golden answers of Keras, as the server does.

    Raises:
        FidelityError: the difference exceeds the tolerance.
    """
    spec = model.spec
    golden = read_bundle_json(directory / GOLDEN)
    cases = golden["cases"]
    encodings = encode(
        model.tokenizer,
        map(case_text, cases),
        spec.max_sequence_length,
        hypothesis_first=spec.hypothesis_first,
        pair_truncation=spec.pair_truncation,
    )
    expected = golden_rows(cases, spec.output, model.keras_model.output_shape[-1])
    run = onnx_run(directory / file_of(name))
    difference = float(np.max(golden_differences(expected, encodings, run)))
    bound = max(golden["tolerance"], tolerance)
    if not difference <= bound:
        raise FidelityError(
            f"{spec.name}, {name}: differs from Keras's golden answers by {difference:.2g} of a"
            f" row's scale, at most {bound:.2g} is allowed: this variant is left out"
        )


def _proved(name: Variant, model: LoadedModel, directory: Path) -> dict[str, Any]:
    spec, gate = model.spec, gate_for(name, model.spec.task)
    quality = measure(
        onnx_run(directory / GRAPH),
        onnx_run(directory / file_of(name)),
        spec.task,
        held_out_batches(
            name,
            model.tokenizer,
            spec.max_sequence_length,
            pair=spec.pair,
            hypothesis_first=spec.hypothesis_first,
        ),
    )
    gate.require(quality, f"{spec.name}, {name}")
    _require_golden(directory, model, name, gate.difference)
    return {
        "file": file_of(name),
        "precision": "fp32" if name == "fused" else name,
        "tolerance": gate.difference,
        "reference": "portable",
        **quality.figures(),
    }
