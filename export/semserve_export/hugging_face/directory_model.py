"""Loads a directory of transformers or sentence-transformers as a model to export.

The module reads its files: config.json, the named tensors, modules.json, the tokenizer. KerasHub's
converters are not used, because they silently drop some settings. The graphs are compared with a
KerasHub model that has the same weights.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from semserve_export.bundle.option_rules import require_flags_of_adapter
from semserve_export.encoder_weights import EncoderWeights
from semserve_export.errors import WeightsError
from semserve_export.files.digest import sha256_of
from semserve_export.files.model_files import CONFIG
from semserve_export.files.preset_digest import digest_of
from semserve_export.graphs.encoder_reader import read_encoder
from semserve_export.hugging_face.directory import ENCODER, HuggingFaceDirectory, find_directory
from semserve_export.hugging_face.heads.head import read_head
from semserve_export.hugging_face.keras_encoder import make_keras_model
from semserve_export.model_spec import PREMISE_FIRST, ModelSpec, Task
from semserve_export.models.delta_adapter import TENSORS, apply_adapter, read_record
from semserve_export.models.families import inputs_of
from semserve_export.models.loaded_model import LoadedModel
from semserve_export.options import ModelOptions

NAMES: dict[Task, str] = {
    "embedding": "embeddings",
    "sparse_embedding": "sparse embeddings",
    "classification": "classification",
    "score": "scores",
}


def load_directory(options: ModelOptions, path: Path, licence: str) -> LoadedModel:
    """Load the model and its description.

    Raises:
        WeightsError: a setting is not supported; the message names the file and the key.
    """
    directory = HuggingFaceDirectory.read(path)
    if options.activation:
        directory = directory.with_activation(options.activation)
    if options.adapter:
        return _adapted(options, options.adapter, directory, licence)
    task = options.task or directory.task
    directory.require_task(task)
    reader = directory.reader()
    tokenizer, limit = _tokenizer(options, directory)
    length = directory.max_sequence_length(options.max_sequence_length, limit)
    head = read_head(options, directory, reader, task)
    encoder = reader.encoder(head.numbers)
    dropped = task == "embedding" and bool(directory.modules or options.task)
    reader.require_used(classifier_dropped=dropped)
    model = make_keras_model(encoder, directory.architecture, directory.family)
    spec = ModelSpec(
        name=options.served_name,
        description=options.description or f"{NAMES[head.task]} by {options.title}",
        task=head.task,
        activation=encoder.activation,
        max_sequence_length=length,
        inputs=inputs_of(model),
        **head.spec,
    )
    _require_segments(tokenizer, encoder, pair=spec.pair)
    loaded = _loaded(options, directory, spec, model, encoder, tokenizer, licence)
    notes = (*_notes(directory, head.task), *head.notes)
    return replace(loaded, notes=notes, facts=head.facts)


def _adapted(
    options: ModelOptions, adapter: Path, directory: HuggingFaceDirectory, licence: str
) -> LoadedModel:
    """Apply an adapter to the encoder, with the labels and the length of its training."""
    record = read_record(adapter)
    if record["base_sha256"] != digest_of(directory.weight_files):
        raise WeightsError(f"{adapter} was trained on other weights")
    pair = not record.get("single_texts")
    require_flags_of_adapter(options, record["labels"], record["activation"], pair=pair)
    model = directory.make_classifier(len(record["labels"]))
    apply_adapter(adapter, model)
    tokenizer, limit = _tokenizer(options, directory)
    spec = ModelSpec(
        name=options.served_name,
        description=options.description or f"classification by {options.title}, fine-tuned",
        task="classification",
        activation=record["activation"],
        max_sequence_length=directory.max_sequence_length(options.max_sequence_length, limit),
        labels=tuple(record["labels"]),
        pair=pair,
        text_order=PREMISE_FIRST if pair else None,
        inputs=inputs_of(model),
    )
    encoder = read_encoder(model, spec.gelu) if directory.family.plain else None
    loaded = _loaded(options, directory, spec, model, encoder, tokenizer, licence)
    return replace(loaded, adapter_sha256=sha256_of(adapter / TENSORS))


def _loaded(
    options: ModelOptions,
    directory: HuggingFaceDirectory,
    spec: ModelSpec,
    model: Any,
    encoder: EncoderWeights | None,
    tokenizer: Tokenizer,
    licence: str,
) -> LoadedModel:
    return LoadedModel(
        spec=spec,
        keras_model=model,
        tokenizer=tokenizer,
        source=options.title,
        sha256=digest_of(directory.weight_files),
        licence=licence,
        notice=f"{spec.name}: exported by semserve-export from {options.title}.\n",
        # The encoder graphs do not support a DeBERTa's attention, so Keras converts it.
        encoder=None if directory.architecture.buckets else encoder,
    )


def _tokenizer(
    options: ModelOptions, directory: HuggingFaceDirectory
) -> tuple[Tokenizer, int | None]:
    """Read the tokenizer of the directory, or of the directory of --tokenizer."""
    source = directory
    if options.tokenizer:
        other = find_directory(options.tokenizer) or Path(options.tokenizer)
        if not other.is_dir():
            raise WeightsError(f"--tokenizer {options.tokenizer}: is no directory of a tokenizer")
        source = replace(directory, path=other, encoder_path=other)
    return source.tokenizer(strip_accents=options.strip_accents, split_on_cjk=options.split_on_cjk)


def _require_segments(tokenizer: Tokenizer, encoder: EncoderWeights, *, pair: bool) -> None:
    """Refuse a tokenizer with a segment for which the model has no vector."""
    encoded = tokenizer.encode("a", "b") if pair else tokenizer.encode("a")
    segments = encoder.embeddings.segments
    if segments is not None and max(encoded.type_ids) >= len(segments):
        raise WeightsError(
            f"{CONFIG}: type_vocab_size is {len(segments)}, and the second text of a pair is of"
            " another segment"
        )


def _notes(directory: HuggingFaceDirectory, task: Task) -> list[str]:
    """List the parts of the directory that are dropped, or left to the callers."""
    notes = []
    classes = directory.config.get("architectures") or []
    if task == "embedding" and any(not str(name).endswith(ENCODER) for name in classes):
        notes.append(f"the head of {', '.join(map(str, classes))} is left out")
    dtype = str(directory.config.get("dtype") or directory.config.get("torch_dtype") or "")
    if "float16" in dtype:
        notes.append(f"it was saved as {dtype} and is exported in float32")
    return notes
