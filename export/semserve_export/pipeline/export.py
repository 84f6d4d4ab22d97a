"""The steps of an export: writes a model in memory as a bundle, or writes nothing."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from semserve_export.bundle.golden import golden_answers, golden_encodings, golden_texts
from semserve_export.bundle.layout import (
    GOLDEN,
    GRAPH,
    LICENCE,
    NOTICE,
    TOKENIZER,
    manifest_of,
    write_bundle,
    write_json,
)
from semserve_export.bundle.proof import prove_bundle
from semserve_export.bundle.schema import require_fields
from semserve_export.bundle.tolerance import (
    TOLERANCE,
    compare,
    keras_run,
    onnx_run,
    padded_batches,
    require_close,
)
from semserve_export.errors import ExportError, FidelityError, WeightsError
from semserve_export.failures import reason_of
from semserve_export.graphs.keras_to_onnx import save_graph, write_graph
from semserve_export.graphs.portable import portable_graph
from semserve_export.model_spec import OUTPUTS, ModelSpec, Variant
from semserve_export.models.loaded_model import LoadedModel, require_finite
from semserve_export.report import Measure
from semserve_export.tokenizers.bert_wordpiece import Inputs, save_tokenizer
from semserve_export.tokenizers.parity import FILE as PARITY
from semserve_export.variants.variants import add_variants

Step = Callable[[str], None]
AddVariants = Callable[[Path], dict[str, dict[str, Any]]]
STEPS = 4  # steps that `export_model` announces, plus one for each variant


def _raise(error: FidelityError) -> None:
    raise error


def export_model(
    model: LoadedModel,
    directory: Path,
    announce: Step,
    variants: Sequence[Variant] = (),
    refused: Callable[[FidelityError], None] = _raise,
    measured: Callable[[Measure], None] = lambda _: None,
) -> dict[str, Any]:
    """Write the model's bundle to a directory atomically, and return its manifest.

    Before the bundle is moved to the directory, the graph is reloaded in ONNX Runtime and compared
    with Keras, and the bundle must pass all checks of the server.

    Args:
        model: what to export.
        directory: the bundle; an older one there is replaced.
        announce: called with what is done next, `STEPS` times and once a variant.
        variants: further graphs, each proved against the portable one; none where its layers
            are not BERT's.
        refused: called with each variant that falls short, which is then left out.
        measured: called with each measure of `model.proofs`, which are taken of the written bundle.

    Raises:
        FidelityError: the graph differs from Keras by more than `TOLERANCE`, or a variant does not
            short and there is no `refused`.
        BundleError: the server would refuse the bundle.
        ExportError: the directory cannot be written, or the server would refuse a field.
    """
    manifest: dict[str, Any] = {}

    def add(written: Path) -> dict[str, dict[str, Any]]:
        return add_variants(model, variants, written, announce, refused)

    def fill(scratch: Path) -> dict[str, Any]:
        manifest.update(_fill(model, scratch, announce, add))
        return manifest

    def prove(written: Path) -> None:
        prove_bundle(written)
        for proof in model.proofs:
            measure = proof(written)
            measured(measure)
            require_close(measure.value, measure.bound, f"{model.spec.name}: {measure.name}")

    require_spec(model.spec)
    require_finite(model.keras_model)
    write_bundle(directory, fill, prove)
    return manifest


def require_spec(spec: ModelSpec) -> None:
    """Refuse fields that the server would refuse, before any computation.

    Raises:
        ExportError: the message names the field.
    """
    require_fields(
        {
            "model": spec.name,
            "description": spec.description,
            "labels": list(spec.labels) if spec.labels is not None else None,
            "max_sequence_length": spec.max_sequence_length,
        },
        {"model": "name", "labels": "labels (id2label or --label)"},
    )


def comparison_batches(model: LoadedModel) -> list[Inputs]:
    """Make the padded batches for the comparison of a bundle's graph with Keras.

    A model with its own texts is compared only on these. Recurrent layers amplify rounding for
    random ids: for 97 such ids one LSTM had a difference of 1.3e-5, and 1e-7 for real texts.
    """
    spec = model.spec
    texts = golden_encodings(spec, model.tokenizer, golden_texts(spec, model.texts))
    return padded_batches(
        [encoding for _, encoding in texts],
        None if model.texts else model.tokenizer.get_vocab_size(),
        spec.max_sequence_length,
        pair=spec.pair,
        sides=spec.sides is not None,
        separate=spec.separate,
    )


def weights_of(model: LoadedModel) -> dict[str, str | None]:
    """Return the origin of the weights for the manifest."""
    return {
        "source": model.source,
        "sha256": model.sha256,
        "adapter_sha256": model.adapter_sha256,
    }


def _write_any(model: LoadedModel, path: Path) -> None:
    """Convert a model of any layers.

    Raises:
        WeightsError: tf2onnx cannot convert one of its layers.
    """
    try:
        write_graph(model.keras_model, model.spec.inputs, model.spec.output, path)
    except (ExportError, MemoryError):
        raise
    except Exception as error:  # tf2onnx raises any error of its rules
        raise WeightsError(
            f"{model.spec.name}: cannot be converted to ONNX: {reason_of(error)}"
        ) from error


def _fill(model: LoadedModel, directory: Path, announce: Step, add: AddVariants) -> dict[str, Any]:
    spec = model.spec
    reference = keras_run(model.keras_model, spec.inputs)
    announce("asking Keras for golden answers")
    golden = golden_answers(spec, model.tokenizer, reference, model.texts)
    write_json(directory / GOLDEN, golden)
    save_tokenizer(model.tokenizer, directory / TOKENIZER)
    if model.parity:
        write_json(directory / PARITY, model.parity.as_json())
    (directory / LICENCE).write_text(model.licence, encoding="utf-8")
    (directory / NOTICE).write_text(model.notice, encoding="utf-8")

    announce("converting to ONNX")
    if model.encoder:
        save_graph(portable_graph(model.encoder, spec), directory / GRAPH)
    elif model.texts is None:
        write_graph(model.keras_model, spec.inputs, spec.output, directory / GRAPH)
    else:
        _write_any(model, directory / GRAPH)

    announce("comparing ONNX Runtime with Keras")
    graph = onnx_run(directory / GRAPH)
    difference = compare(reference, graph, comparison_batches(model))
    require_close(difference.scaled, TOLERANCE, spec.name)

    portable = {
        "file": GRAPH,
        "precision": "fp32",
        "tolerance": TOLERANCE,
        "max_abs_difference": difference.absolute,
        "reference": "keras",
    }
    variants = {"portable": portable, **add(directory)}
    announce("writing the bundle")
    outputs = model.keras_model.output_shape[-1]
    return manifest_of(
        spec,
        directory,
        dimensions=outputs if spec.task in OUTPUTS else None,
        weights=weights_of(model),
        variants=variants,
    )
