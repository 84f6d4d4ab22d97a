"""Loads a KerasHub preset as an embedder or a classifier, with the fields of its manifest."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from semserve_export.bundle.option_rules import require_flags_of_adapter, require_flags_of_task
from semserve_export.bundle.prompts import choose_prompts
from semserve_export.bundle.text_order import texts_of_input
from semserve_export.errors import WeightsError
from semserve_export.files.digest import sha256_of
from semserve_export.files.preset_digest import digest_of, preset_weight_files
from semserve_export.model_spec import PREMISE_FIRST, ModelSpec
from semserve_export.models.delta_adapter import apply_adapter, read_record
from semserve_export.models.heads import take_scores, task_of
from semserve_export.models.pooling import require_pooling
from semserve_export.models.preset import Preset
from semserve_export.models.preset_rules import length_of
from semserve_export.options import ModelOptions
from semserve_export.report import Fact


@dataclass(frozen=True, slots=True)
class PresetModel:
    """A model and its description."""

    spec: ModelSpec  # without its inputs
    model: Any
    facts: tuple[Fact, ...] = ()
    notes: tuple[str, ...] = ()


def load_model(options: ModelOptions, preset: Preset) -> PresetModel:
    """Load the model of a preset, with an adapter if the options name one.

    Raises:
        WeightsError: the preset has no such head, or the server cannot serve it.
        ExportError: a flag has no effect for such a model.
    """
    if options.adapter:
        return _adapted(options, options.adapter, preset)
    task = options.task or preset.task
    if task == "embedding":
        return _embedder(options, preset)
    if task == "sparse_embedding":
        raise WeightsError(
            "--task sparse_embedding: needs the head of a masked language model; give its Hugging"
            " Face directory"
        )
    return _classifier(options, preset)


def _embedder(options: ModelOptions, preset: Preset) -> PresetModel:
    require_flags_of_task(options, "embedding")
    activation = options.activation or preset.activation
    pooling, normalize = preset.pooling
    pooling = options.pooling or pooling
    normalize = normalize if options.normalize is None else options.normalize
    require_pooling(preset.family.backbone, pooling)
    prompts, default = choose_prompts(options)
    model = preset.load_embedder(activation, pooling, normalize=normalize)
    spec = ModelSpec(
        name=options.served_name,
        description=options.description or f"embeddings by {options.title}",
        task="embedding",
        activation=activation,
        max_sequence_length=length_of(options, preset, model.backbone),
        pooling=pooling,
        normalized=normalize,
        metric=options.metric or "cosine",
        prompts=prompts,
        default_prompt=default,
    )
    return PresetModel(spec, model)


def _adapted(options: ModelOptions, adapter: Path, preset: Preset) -> PresetModel:
    """Apply an adapter to the backbone, with the labels and the length of its training."""
    record = read_record(adapter)
    if record["base_sha256"] != base_digest(preset, options.path):
        raise WeightsError(f"{adapter} was trained on other weights")
    pair = not record.get("single_texts")
    require_flags_of_adapter(options, record["labels"], record["activation"], pair=pair)
    model = preset.make_classifier(len(record["labels"]))
    apply_adapter(adapter, model)
    spec = ModelSpec(
        name=options.served_name,
        description=options.description or f"classification by {options.title}, fine-tuned",
        task="classification",
        activation=record["activation"],
        max_sequence_length=length_of(options, preset, model.backbone),
        labels=tuple(record["labels"]),
        pair=pair,
        text_order=PREMISE_FIRST if pair else None,
    )
    texts = texts_of_input(options, pairs=pair, ordered=True)
    return PresetModel(spec, model, texts.facts)


def _classifier(options: ModelOptions, preset: Preset) -> PresetModel:
    if preset.task != "classification":
        raise WeightsError(f"--task {options.task}: was saved without the head of a classifier")
    activation = options.activation or preset.activation
    texts = texts_of_input(options)
    model = preset.load_classifier(activation)
    task = task_of(model.num_classes, options.task)
    require_flags_of_task(options, task)
    scores, fact = take_scores(model, options)
    # The label of a class without a name is its number, as in training.
    labels = options.labels or tuple(map(str, range(model.num_classes)))
    if task == "classification" and len(labels) != model.num_classes:
        raise WeightsError(
            f"{model.num_classes} classes need as many labels, in the order of the logits; give"
            f" --label {model.num_classes} times"
        )
    spec = ModelSpec(
        name=options.served_name,
        description=options.description or f"{task} by {options.title}",
        task=task,
        activation=activation,
        max_sequence_length=length_of(options, preset, model.backbone),
        labels=labels if task == "classification" else None,
        scores=scores,
        pair=texts.pair,
        text_order=texts.order,
        pair_truncation=preset.pair_truncation,
    )
    facts = [*texts.facts, fact]
    if spec.labels:
        facts.append(
            Fact("labels", ", ".join(spec.labels), "stated" if options.labels else "assumed")
        )
    return PresetModel(spec, model, tuple(facts), texts.notes)


def base_digest(preset: Preset, path: str) -> str:
    """Return the digest of the weights on which an adapter is trained.

    Args:
        preset: the preset of the backbone.
        path: the path that the user passed. For a `.keras`
            file it is the digest of the file, because the preset that is made from it has different
            bytes each time.
    """
    if Path(path).is_file():
        return sha256_of(Path(path))
    files = preset_weight_files(preset.handle, head=False)
    return digest_of(files)
