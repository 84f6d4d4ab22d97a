"""The head of a Hugging Face model: a pooling, logits, or the weights of SPLADE."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from semserve_export.bundle.option_rules import require_flags_of_task
from semserve_export.bundle.prompts import choose_prompts
from semserve_export.bundle.text_order import texts_of_input
from semserve_export.encoder_weights import Classifier, Pool, SparseHead, UnitLength
from semserve_export.errors import WeightsError
from semserve_export.files.model_files import CONFIG, MODULES
from semserve_export.hugging_face.directory import HuggingFaceDirectory
from semserve_export.hugging_face.heads.splade import KIND as SPLADE
from semserve_export.hugging_face.heads.splade import SpladePooling
from semserve_export.hugging_face.labels import read_labels, read_scores
from semserve_export.hugging_face.sentence_transformers_modules import SETTINGS, SentenceModules
from semserve_export.hugging_face.weights import EncoderReader
from semserve_export.model_spec import Task
from semserve_export.models.heads import choose_scores, task_of
from semserve_export.options import ModelOptions
from semserve_export.report import Fact

_Prompts = Mapping[str, Any]
"""The fields `prompts` and `default_prompt` of a spec."""
CLASSIFIERS: tuple[Task, ...] = ("classification", "score")
"""The tasks of a head with logits; the number of logits determines the task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The head of a model."""

    numbers: Pool | Classifier | SparseHead
    task: Task
    spec: Mapping[str, Any]  # further fields of the model's spec
    facts: tuple[Fact, ...] = ()
    notes: tuple[str, ...] = ()


def read_head(
    options: ModelOptions, directory: HuggingFaceDirectory, reader: EncoderReader, task: Task
) -> Head:
    """Read the head of a task, and determine its fields of the manifest.

    Args:
        options: the options of the export.
        directory: the directory of the model.
        reader: reads its weights.
        task: the requested or detected task; the number of logits distinguishes score and
            classification.

    Raises:
        WeightsError: something of it cannot be honoured; the message names the file and key.
        ExportError: a flag has no effect for such a model.
    """
    if task in CLASSIFIERS:
        return _classifier(options, directory, reader)
    require_flags_of_task(options, task)
    prompts = _prompts(options, directory.modules)
    if task == "sparse_embedding":
        return _sparse(directory, reader, prompts)
    return _embedder(options, directory, reader, prompts)


def _classifier(
    options: ModelOptions, directory: HuggingFaceDirectory, reader: EncoderReader
) -> Head:
    numbers = reader.classifier()
    outputs = len(numbers.logits.bias)
    task = task_of(outputs, options.task)
    require_flags_of_task(options, task)
    labels = None
    if task == "classification":
        labels = options.labels or read_labels(directory.config, outputs)
        if len(labels) != outputs:
            raise WeightsError(
                f"{outputs} classes need as many labels, in the order of the logits; give --label"
                f" {outputs} times"
            )
    stated = read_scores(directory.config, outputs, directory.settings, options.scores)
    scores, fact = choose_scores(
        outputs, stated.scores if stated else None, options, stated.where if stated else CONFIG
    )
    crosses = directory.is_cross_encoder
    # The first text of a cross-encoder is the first text of a request: a query, then its document.
    texts = texts_of_input(
        options, pairs=True if crosses else None, ordered=crosses and task == "score"
    )
    facts = [*texts.facts, fact]
    if labels:
        facts.append(Fact("labels", ", ".join(labels), "stated" if options.labels else "found"))
    notes = list(texts.notes)
    modules = directory.modules
    if modules and any(modules.prompts.values()):
        if modules.default_prompt and not options.ignore_prompts:
            raise WeightsError(
                f"{SETTINGS}: default_prompt_name {modules.default_prompt!r} puts a prompt before"
                " the first text of each pair, which is not served; --ignore-prompts exports the"
                " model without it"
            )
        notes.append(f"prompts ({', '.join(modules.prompts)}) are not applied to pairs")
    return Head(
        numbers=numbers,
        task=task,
        spec={"labels": labels, "scores": scores, "pair": texts.pair, "text_order": texts.order},
        facts=tuple(facts),
        notes=tuple(notes),
    )


def _embedder(
    options: ModelOptions, directory: HuggingFaceDirectory, reader: EncoderReader, prompts: _Prompts
) -> Head:
    modules = directory.modules
    pooling = options.pooling or (modules.pooling if modules else None) or "mean"
    normalized = options.normalize
    if normalized is None:
        normalized = modules.normalized if modules else True
    steps = modules.steps if modules else ()
    pool = Pool(pooling, normalized, reader.pooler() if pooling == "pooled" else None, steps)
    _require_width(pool, directory)
    metric = options.metric or (modules.metric if modules else "cosine")
    spec = {"pooling": pooling, "normalized": normalized, "metric": metric, **prompts}
    return Head(numbers=pool, task="embedding", spec=spec)


def _sparse(directory: HuggingFaceDirectory, reader: EncoderReader, prompts: _Prompts) -> Head:
    """Read the head of a masked language model for SPLADE, as sentence-transformers does."""
    modules = directory.modules
    splade = (modules.splade if modules else None) or SpladePooling()
    vocabulary = directory.architecture.vocabulary
    if splade.width not in (None, vocabulary):
        raise WeightsError(
            f"{MODULES}: {SPLADE} is of {splade.width} dimensions, the vocabulary has {vocabulary}"
        )
    tied = directory.config.get("tie_word_embeddings", True) is not False
    return Head(
        numbers=reader.language_head(splade, tied=tied),
        task="sparse_embedding",
        spec={"pooling": splade.strategy, **prompts},
    )


def _prompts(options: ModelOptions, modules: SentenceModules | None) -> _Prompts:
    """Determine the prompts of an embedder.

    Raises:
        WeightsError: the pooling excludes the tokens of a prompt, or the default is not a prompt.
    """
    found, default = (modules.prompts, modules.default_prompt) if modules else ({}, None)
    prompts, default = choose_prompts(options, found, default)
    if modules and not modules.prompt_pooled and any((prompts or {}).values()):
        raise WeightsError(
            "the Pooling module has include_prompt false, so the tokens of a prompt are not pooled,"
            " which cannot be served; --ignore-prompts exports the model without prompts"
        )
    return {"prompts": prompts, "default_prompt": default}


def _require_width(pool: Pool, directory: HuggingFaceDirectory) -> None:
    """Check that the input size of each step equals the output size of the step before."""
    hidden, stated = directory.architecture.hidden, directory.modules and directory.modules.width
    if stated is not None and stated != hidden:
        raise WeightsError(
            f"{MODULES}: the pooling is of {stated} dimensions, a token has {hidden}"
        )
    width = len(pool.modes) * hidden
    for step in pool.steps:
        takes, gives = (width, width) if isinstance(step, UnitLength) else step.widths
        if takes != width:
            raise WeightsError(f"{MODULES}: a layer takes {takes} dimensions, and gets {width}")
        width = gives
