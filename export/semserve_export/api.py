"""The documented Python call: `semserve_export.export(model, directory)`.

The command `semserve-export export` calls `export_from_options`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

from semserve_export.argument_names import in_python
from semserve_export.bundle.option_rules import require_choices, require_possible
from semserve_export.errors import ExportError, FidelityError
from semserve_export.model_spec import (
    PREMISE_FIRST,
    Metric,
    Pooling,
    Scores,
    Task,
    TextOrder,
    Variant,
)
from semserve_export.models.loaded_model import LoadedModel
from semserve_export.options import ModelOptions
from semserve_export.pipeline.export import export_model
from semserve_export.pipeline.loading import load_from_options
from semserve_export.report import Measure, Report, facts_of

AUTO: tuple[Variant, ...] = ("fused", "int8")
"""Default variants of a model whose layers are those of BERT."""
Announce = Callable[[str], None]


def export(  # noqa: PLR0913 - each says one thing that the export would otherwise find out
    model: Any,
    directory: str | Path,
    *,
    tokenizer: Any = None,
    name: str | None = None,
    task: Task | None = None,
    labels: Sequence[str] = (),
    text_order: TextOrder = PREMISE_FIRST,
    scores: Scores | None = None,
    pooling: Pooling | None = None,
    normalize: bool | None = None,
    metric: Metric | None = None,
    tower: str | None = None,
    max_length: int | None = None,
    prompts: Mapping[str, str] | None = None,
    variants: Literal["auto"] | Sequence[Variant] = "auto",
    trust: bool = False,
    announce: Announce = lambda _: None,
    **settings: Any,
) -> Report:
    """Export a Keras model as a bundle, and compare the bundle with the model.

    Args:
        model: a Keras model in memory, or the path of one: a `.keras` file, the directory of a
            KerasHub preset or of a Hugging Face model, or the name of a preset. A model in memory
            may contain Lambda layers and layers of your own.
        directory: the directory of the bundle; its last part is the model's name. An older bundle
            is replaced.
        tokenizer: a KerasHub tokenizer or preprocessor, a TextVectorization layer, a word index (a
            dict, or the path of its JSON), a `tokenizers.Tokenizer`, the path of a vocabulary or
            the directory of a Hugging Face model. Default: the tokenizer inside the model.
        name: name of the model; by default the name of the directory.
        task: task of the model; by default detected from its last layer.
        labels: labels of a classifier, in the order of its outputs.
        text_order: order of a pair's texts in the model's input. With it, a classifier is one of
            pairs; without it, the report contains the assumption.
        scores: function that converts the outputs to scores.
        pooling: how an embedder combines token vectors to one vector.
        normalize: whether embeddings are scaled to length 1.
        metric: similarity of two embeddings.
        tower: name of the layer that encodes one text, in a model of two texts.
        max_length: largest number of tokens of a text.
        prompts: texts that the server can put before a text, by their names; the setting
            `default_prompt` is the name of the default one.
        variants: faster graphs to add to the portable graph; `auto` means fused and int8 for the
            models that have them.
        trust: whether a model file may run code that it contains.
        announce: called with the name of each step when it starts.
        settings: further fields of `ModelOptions`.

    Raises:
        ExportError: the model cannot be exported; the message is one line with the reason and what
            to change.
    """
    place = Path(directory)
    if unknown := sorted(set(settings) - set(ModelOptions.__dataclass_fields__)):
        raise ExportError(f"{unknown[0]}: export has no such argument")
    if isinstance(labels, str):
        raise ExportError(f"labels: {labels!r} is one text; give a list of labels")
    options = ModelOptions(
        str(model) if isinstance(model, str | Path) else "",
        live=None if isinstance(model, str | Path) else model,
        name=name or place.absolute().name,
        tokenizer=tokenizer,
        task=task,
        labels=tuple(labels),
        # The default itself, and not an equal value, is what it is where nobody says anything.
        text_order=None if text_order is PREMISE_FIRST else text_order,
        scores=scores,
        pooling=pooling,
        normalize=normalize,
        metric=metric,
        tower=tower,
        max_sequence_length=max_length,
        prompts=dict(prompts or {}),
        trust=trust,
        **settings,
    )
    try:
        require_choices(options)
        report = export_from_options(options, place, chosen_variants(variants), announce)
    except ExportError as error:
        raise type(error)(in_python(str(error))) from error
    return replace(report, notes=tuple(map(in_python, report.notes)))


def export_from_options(
    options: ModelOptions, directory: Path, variants: Sequence[Variant], announce: Announce
) -> Report:
    """Export a model of the user; `export` calls this with its arguments in one value.

    Raises:
        ExportError: as `export`.
    """
    require_possible(options)
    return export_loaded(load_from_options(options), directory, variants, announce)


def export_loaded(
    model: LoadedModel, directory: Path, variants: Sequence[Variant], announce: Announce
) -> Report:
    """Export a loaded model, and return the report.

    Raises:
        ExportError: as `export`.
    """
    refused: list[FidelityError] = []
    measures: list[Measure] = []
    manifest = export_model(model, directory, announce, variants, refused.append, measures.append)
    notes = list(model.notes)
    if model.parity:
        notes.append(f"{directory}: {model.parity}")
    if variants and not refused and len(manifest["variants"]) == 1:
        notes.append(f"{model.spec.name}: has no {' or '.join(variants)}, only the portable graph")
    return Report(
        name=model.spec.name,
        directory=directory,
        manifest=manifest,
        facts=facts_of(model.spec, model.facts),
        measures=tuple(measures),
        refused=tuple(map(str, refused)),
        notes=tuple(notes),
    )


def chosen_variants(names: Literal["auto"] | Sequence[str]) -> tuple[Variant, ...]:
    """Return the requested variants, in their order and without duplicates.

    Raises:
        ExportError: a name is not a variant.
    """
    if names == "auto":
        return AUTO
    if isinstance(names, str):
        names = (names,)
    if unknown := sorted(set(names) - set(get_args(Variant))):
        known = ", ".join(get_args(Variant))
        raise ExportError(f"variants: no variant {unknown[0]!r}; there are {known}")
    return tuple(cast("Variant", name) for name in dict.fromkeys(names))
