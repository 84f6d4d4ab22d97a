"""A directory that transformers or sentence-transformers wrote, as a model to export.

Its own files are read: config.json, the named tensors, modules.json, the tokenizer. KerasHub's
converters, which leave some of that out without a word, have no part in it; a KerasHub model filled
with the same numbers is what the graphs are compared with.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from semserve_export.bundle.option_rules import require_flags_of_adapter, require_flags_of_task
from semserve_export.encoder_weights import Classifier, Encoder, Pool, UnitLength
from semserve_export.errors import WeightsError
from semserve_export.files.digest import sha256_of
from semserve_export.files.model_files import CONFIG, MODULES
from semserve_export.graphs.encoder_reader import read_encoder
from semserve_export.hugging_face.directory import ENCODER, HuggingFaceDirectory, find_directory
from semserve_export.hugging_face.keras_encoder import make_keras_model
from semserve_export.hugging_face.labels import read_labels, read_scores
from semserve_export.hugging_face.sentence_transformers_modules import SentenceModules
from semserve_export.hugging_face.weights import EncoderReader
from semserve_export.model_spec import ModelSpec, Task
from semserve_export.models.delta_adapter import TENSORS, apply_adapter, read_record
from semserve_export.models.families import inputs_of
from semserve_export.models.loaded_model import LoadedModel
from semserve_export.models.preset_digest import digest_of
from semserve_export.options import OwnModel

KINDS: dict[Task, str] = {"embedding": "embeddings", "classification": "classification"}


def load_directory(asked: OwnModel, path: Path, licence: str) -> LoadedModel:
    """Load the model, and say what it is.

    Raises:
        WeightsError: something of it cannot be honoured; the message names the file and key.
    """
    directory = HuggingFaceDirectory.read(path)
    if asked.activation:
        directory = directory.with_activation(asked.activation)
    if asked.adapter:
        return _adapted(asked, asked.adapter, directory, licence)
    task = asked.task or directory.task
    directory.require_task(task)
    require_flags_of_task(asked, task)
    _refuse_default_prompt(asked, directory.modules)
    reader = directory.reader()
    tokenizer, limit = _tokenizer(asked, directory)
    length = directory.max_sequence_length(asked.max_sequence_length, limit)
    head, facts = _head(asked, directory, reader, task)
    encoder = reader.encoder(head)
    dropped = task == "embedding" and bool(directory.modules or asked.task)
    reader.require_used(classifier_dropped=dropped)
    model = make_keras_model(encoder, directory.architecture, directory.family)
    spec = ModelSpec(
        name=asked.served_name,
        description=asked.description or f"{KINDS[task]} by {asked.title}",
        task=task,
        activation=encoder.activation,
        max_sequence_length=length,
        inputs=inputs_of(model),
        **facts,
    )
    _require_segments(tokenizer, encoder, pair=spec.pair)
    loaded = _loaded(asked, directory, spec, model, encoder, tokenizer, licence)
    return replace(loaded, notes=tuple(_notes(directory, task)))


def _adapted(
    asked: OwnModel, adapter: Path, directory: HuggingFaceDirectory, licence: str
) -> LoadedModel:
    """Put on the encoder what `train` learnt on it; labels and length are what they were there."""
    record = read_record(adapter)
    if record["base_sha256"] != digest_of(directory.weight_files):
        raise WeightsError(f"{adapter} was trained on other weights")
    require_flags_of_adapter(asked, record["labels"], record["activation"])
    model = directory.make_classifier(len(record["labels"]))
    apply_adapter(adapter, model)
    tokenizer, limit = _tokenizer(asked, directory)
    spec = ModelSpec(
        name=asked.served_name,
        description=asked.description or f"classification by {asked.title}, fine-tuned",
        task="classification",
        activation=record["activation"],
        max_sequence_length=directory.max_sequence_length(asked.max_sequence_length, limit),
        labels=tuple(record["labels"]),
        pair=True,
        inputs=inputs_of(model),
    )
    encoder = read_encoder(model, spec.gelu) if directory.family.plain else None
    loaded = _loaded(asked, directory, spec, model, encoder, tokenizer, licence)
    return replace(loaded, adapter_sha256=sha256_of(adapter / TENSORS))


def _loaded(
    asked: OwnModel,
    directory: HuggingFaceDirectory,
    spec: ModelSpec,
    model: Any,
    encoder: Encoder | None,
    tokenizer: Tokenizer,
    licence: str,
) -> LoadedModel:
    return LoadedModel(
        spec=spec,
        keras_model=model,
        tokenizer=tokenizer,
        source=asked.title,
        sha256=digest_of(directory.weight_files),
        licence=licence,
        notice=f"{spec.name}: exported by semserve-export from {asked.title}.\n",
        # A DeBERTa's attention is not what the graphs of an encoder know; Keras converts it.
        encoder=None if directory.architecture.buckets else encoder,
    )


def _tokenizer(asked: OwnModel, directory: HuggingFaceDirectory) -> tuple[Tokenizer, int | None]:
    """Read the directory's own tokenizer, or that of the directory which is named instead."""
    source = directory
    if asked.tokenizer:
        other = find_directory(asked.tokenizer) or Path(asked.tokenizer)
        if not other.is_dir():
            raise WeightsError(f"--tokenizer {asked.tokenizer}: is no directory of a tokenizer")
        source = replace(directory, path=other, encoder_path=other)
    return source.tokenizer(strip_accents=asked.strip_accents, split_on_cjk=asked.split_on_cjk)


def _require_segments(tokenizer: Tokenizer, encoder: Encoder, *, pair: bool) -> None:
    """Refuse a tokenizer that gives a text a segment which the model has no vector for."""
    encoded = tokenizer.encode("a", "b") if pair else tokenizer.encode("a")
    segments = encoder.embeddings.segments
    if segments is not None and max(encoded.type_ids) >= len(segments):
        raise WeightsError(
            f"{CONFIG}: type_vocab_size is {len(segments)}, and the second text of a pair is of"
            " another segment"
        )


def _head(
    asked: OwnModel, directory: HuggingFaceDirectory, reader: EncoderReader, task: Task
) -> tuple[Pool | Classifier, dict[str, Any]]:
    """Read the head, and what the manifest says of it."""
    if task == "classification":
        head = reader.classifier()
        outputs = len(head.logits.bias)
        labels = asked.labels or read_labels(directory.config, outputs)
        if len(labels) != outputs:
            raise WeightsError(
                f"{outputs} classes need as many labels, in the order of the logits; give --label"
                f" {outputs} times"
            )
        scores = read_scores(directory.config)
        return head, {"labels": labels, "scores": scores, "pair": asked.pair}
    modules = directory.modules
    pooling = asked.pooling or (modules.pooling if modules else None) or "mean"
    normalized = asked.normalize
    if normalized is None:
        normalized = modules.normalized if modules else True
    steps = modules.steps if modules else ()
    pool = Pool(pooling, normalized, reader.pooler() if pooling == "pooled" else None, steps)
    _require_width(pool, directory)
    metric = modules.metric if modules else "cosine"
    return pool, {"pooling": pooling, "normalized": normalized, "metric": metric}


def _require_width(pool: Pool, directory: HuggingFaceDirectory) -> None:
    """Check that each step takes vectors as long as the step before gives."""
    hidden, said = directory.architecture.hidden, directory.modules and directory.modules.width
    if said is not None and said != hidden:
        raise WeightsError(f"{MODULES}: the pooling is of {said} dimensions, a token has {hidden}")
    width = len(pool.modes) * hidden
    for step in pool.steps:
        takes, gives = (width, width) if isinstance(step, UnitLength) else step.widths
        if takes != width:
            raise WeightsError(f"{MODULES}: a layer takes {takes} dimensions, and gets {width}")
        width = gives


def _refuse_default_prompt(asked: OwnModel, modules: SentenceModules | None) -> None:
    if modules and modules.default_prompt and not asked.ignore_prompts:
        raise WeightsError(
            f"config_sentence_transformers.json: default_prompt_name puts"
            f" {modules.default_prompt!r} before every text, and the server puts nothing there;"
            " --ignore-prompts exports the model without it"
        )


def _notes(directory: HuggingFaceDirectory, task: Task) -> list[str]:
    """Say what of the directory is left out, or left to those who call."""
    notes = []
    classes = directory.config.get("architectures") or []
    if task == "embedding" and any(not str(name).endswith(ENCODER) for name in classes):
        notes.append(f"the head of {', '.join(map(str, classes))} is left out")
    dtype = str(directory.config.get("dtype") or directory.config.get("torch_dtype") or "")
    if "float16" in dtype:
        notes.append(f"it was saved as {dtype} and is exported in float32")
    if directory.modules and directory.modules.prompts:
        names = ", ".join(directory.modules.prompts)
        notes.append(f"prompts ({names}) are not applied: put them before the texts yourself")
    return notes
