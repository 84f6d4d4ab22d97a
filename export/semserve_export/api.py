"""The documented Python call: `semserve_export.export(model, directory)`.

The command `semserve-export export` asks for the same work by `export_from_options`.
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
"""The variants of a model whose layers are BERT's, where the caller names none."""
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
    """Export a Keras model as a bundle that semserve serves, and prove the bundle on the model.

    Args:
        model: a live Keras model, or the path of one: a `.keras` file, the directory of a KerasHub
            preset or of a Hugging Face model, or the name of a preset. A live model may hold
            Lambda layers and layers of your own.
        directory: the bundle's; its last part is the model's name. An older bundle is replaced.
        tokenizer: what makes token ids of texts: a KerasHub tokenizer or preprocessor, a
            TextVectorization layer, a word index (a dict, or the path of its JSON), a
            `tokenizers.Tokenizer`, the path of a vocabulary or the directory of a Hugging Face
            model. It is found where the model holds it.
        name: the name to serve the model by, where it is not the directory's.
        task: what the model does, where it does not tell.
        labels: of a classifier, in the order of its outputs.
        text_order: which text of a pair comes first in the model's input. Saying it makes a
            classifier one of pairs; where it is left out, the report tells what was assumed.
        scores: what makes scores of the outputs.
        pooling: how an embedder makes one vector of many.
        normalize: whether an embedding is brought to length 1.
        metric: how two embeddings are compared.
        tower: the layer that encodes one text, in a model that compares two.
        max_length: most tokens of a text.
        prompts: texts that a request may have put before its texts, by their names; the setting
            `default_prompt` names the one that is put there where a request names none.
        variants: faster graphs beside the portable one; `auto` means fused and int8 where the
            model has them.
        trust: whether a file may run code that it holds.
        announce: called with what is done next.
        settings: further fields of `ModelOptions`, by their names there.

    Raises:
        ExportError: the model cannot be exported; one line says why, and what to say or change.
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
    """Export a user's model: all that `export` does once its arguments are in one value.

    Raises:
        ExportError: as `export`.
    """
    require_possible(options)
    return export_loaded(load_from_options(options), directory, variants, announce)


def export_loaded(
    model: LoadedModel, directory: Path, variants: Sequence[Variant], announce: Announce
) -> Report:
    """Export a model that is loaded, and report on it.

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
    """Return the variants that are asked for, each once and in the given order.

    Raises:
        ExportError: there is no variant of a name.
    """
    if names == "auto":
        return AUTO
    if isinstance(names, str):
        names = (names,)
    if unknown := sorted(set(names) - set(get_args(Variant))):
        known = ", ".join(get_args(Variant))
        raise ExportError(f"variants: no variant {unknown[0]!r}; there are {known}")
    return tuple(cast("Variant", name) for name in dict.fromkeys(names))
