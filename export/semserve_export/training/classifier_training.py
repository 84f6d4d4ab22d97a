"""The steps of a training: from a start and pairs to an adapter that is read back and measured."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from rich.progress import Progress

from semserve_export.data.batching import LENGTH_STEP, EncodedPairs
from semserve_export.data.pairs import LabelledPair, Pair, PairFiles, TrainingData
from semserve_export.distillation.answer_cache import AnswerCache
from semserve_export.distillation.soft_targets import targets_of, with_swapped
from semserve_export.distillation.teacher import Teacher
from semserve_export.distillation.temperature_scaling import Calibration, calibrate, first_half
from semserve_export.files.digest import sha256_of
from semserve_export.models.delta_adapter import (
    TENSORS,
    apply_adapter,
    assign_values,
    base_values,
    has_factors,
    mean_of,
    read_adapter,
    read_record,
    save_adapter,
    write_record,
)
from semserve_export.number_bounds import require_length
from semserve_export.training.base_model import BaseModel
from semserve_export.training.checkpoint import Checkpoint
from semserve_export.training.metrics import LabelQuality
from semserve_export.training.metrics_log import ResultLog
from semserve_export.training.plan import TrainingPlan
from semserve_export.training.report import write_report
from semserve_export.training.trainable import choose_trainable
from semserve_export.training.trainer import (
    PROGRESS_PAIRS,
    Logits,
    Trainer,
    TrainingResult,
    logits_of,
    seed_everything,
)

RESULTS = "results.jsonl"


def train(  # noqa: PLR0913 - what to train, on what, how, and where to
    start: BaseModel,
    data: TrainingData,
    plan: TrainingPlan,
    output: Path,
    notice: str,
    progress: Progress,
    *,
    resume: bool = False,
    answers: Path | None = None,
) -> dict[str, Any]:
    """Fine-tune, calibrate, and write the adapter with its record and report; return the record.

    The measured model is the base plus the adapter as read back from disk.

    Args:
        start: the model, its tokenizer and its labels.
        data: the training data and the held-out data.
        plan: the hyperparameters.
        output: directory for adapter.safetensors, adapter.json, results.jsonl, and report.md with
            its pictures; during the training also a checkpoint.
        notice: whose work it is, for the NOTICE of bundles.
        progress: where a task is added for the steps.
        resume: continue from the checkpoint in `output`, if there is one.
        answers: directory of the teachers' stored scores.

    Raises:
        ExportError: the checkpoint is of another training, a teacher has other labels, or the model
            takes fewer tokens than the plan.
        AdapterError: an adapter to start from does not match the model.
    """
    require_length(plan, start.max_sequence_length // LENGTH_STEP * LENGTH_STEP)
    output.mkdir(parents=True, exist_ok=True)
    teachers = [
        Teacher.read(bundle, start.labels, plan.teacher_variant) for bundle in plan.teachers
    ]
    facts = _facts(start, data, plan, teachers)
    log, checkpoint = ResultLog(output / RESULTS), Checkpoint(output, facts)
    if resume:
        checkpoint.check()
    else:
        checkpoint.remove()
    validation = _encode(start, data.validation.pairs, plan.max_tokens)
    seed_everything(plan.seed)
    teacher_logits = partial(_teacher_logits, teachers, plan, AnswerCache(answers), progress)
    training = _prepare(start, data, plan, validation, teacher_logits, log)
    result = training.run(checkpoint, progress, resume=resume)

    low_rank = bool(plan.lora) or any(map(has_factors, plan.start))
    record = keep(start, data, result, facts, output, notice, low_rank=low_rank, log=log.lines())
    checkpoint.remove()
    return record


def keep(  # noqa: PLR0913 - what was learnt, on what, and what is to be said of it
    start: BaseModel,
    data: TrainingData,
    result: TrainingResult,
    facts: Mapping[str, Any],
    output: Path,
    notice: str,
    *,
    low_rank: bool,
    log: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Write the result of a training as a calibrated adapter, with record and report.

    Args:
        start: the start of the training.
        data: the training data and the held-out data.
        result: the values to keep; the head's are divided by the temperature in place.
        facts: further entries of the record, with `plan` and its `max_tokens`.
        output: directory for adapter.safetensors, adapter.json, and report.md with its pictures.
        notice: whose work it is; the files' names where it is empty.
        low_rank: whether to store differences as products of two small factors.
        log: the lines of the training's `ResultLog`, for the curve.
    """
    model = start.make(0, "float32")
    base = base_values(model)
    save_adapter(output, result.values, base, low_rank=low_rank)
    apply_adapter(output, model)
    validation = _encode(start, data.validation.pairs, facts["plan"]["max_tokens"])
    logits = logits_of(model, validation)
    calibration = calibrate(logits, validation.labels, first_half(data.validation.pairs))
    # The head is linear, so dividing its weights divides the logits in every graph.
    for variable in model.output_dense.weights:
        result.values[variable.path] /= np.float32(calibration.temperature)
    save_adapter(output, result.values, base, low_rank=low_rank)

    quality = LabelQuality.of(logits, validation.labels)
    figures = _figures(result, quality, calibration, data)
    if data.test:
        figures["test"] = _measured(start, model, data.test, facts["plan"]["max_tokens"])
    record = {**facts, "figures": figures, "notice": notice or _notice(data)}
    write_record(output, record)
    write_report(output, record, quality, calibration, log)
    return record


def _prepare(
    start: BaseModel,
    data: TrainingData,
    plan: TrainingPlan,
    validation: EncodedPairs,
    teacher_logits: Callable[[Sequence[Pair]], list[Logits]],
    log: ResultLog,
) -> Trainer:
    """Build the model to train, and its targets."""
    symmetric = [start.labels.index(label) for label in plan.symmetric]
    labelled = with_swapped(data.training.pairs, symmetric)
    training = _encode(start, (*labelled, *data.unlabelled.pairs), plan.max_tokens)
    classes = len(start.labels)
    # If the target is only the label, teachers are not needed for labelled pairs.
    zeros = [np.zeros((len(labelled), classes), np.float32)] * len(plan.teachers)
    known = teacher_logits(labelled) if plan.teacher_weight else zeros
    parts = zip(known, teacher_logits(data.unlabelled.pairs), strict=True)
    answers = [np.concatenate(part) for part in parts]
    targets = targets_of(
        training.labels, classes, plan.label_smoothing, answers, plan.teacher_weight
    )
    model = start.make(plan.dropout, plan.precision)
    if plan.start:
        assign_values(model, mean_of([read_adapter(path, model) for path in plan.start]))
    choose_trainable(model, plan)
    return Trainer(model, plan, training, targets, validation, log)


def _teacher_logits(
    teachers: Sequence[Teacher],
    plan: TrainingPlan,
    cache: AnswerCache,
    progress: Progress,
    pairs: Sequence[Pair],
) -> list[Logits]:
    return [teacher.answer(pairs, plan.max_tokens, cache, progress) for teacher in teachers]


def _encode(start: BaseModel, pairs: Sequence[Pair], max_tokens: int) -> EncodedPairs:
    """Tokenise pairs; the padding of batches is limited by the positions of the model."""
    longest = start.max_sequence_length // LENGTH_STEP * LENGTH_STEP
    return EncodedPairs.of(start.tokenizer, pairs, min(max_tokens, longest), start.inputs)


def _facts(
    start: BaseModel, data: TrainingData, plan: TrainingPlan, teachers: Sequence[Teacher]
) -> dict[str, Any]:
    """Return the data that identify a training."""
    return {
        **start.facts,
        "plan": {
            **asdict(plan),
            "learning_rate": plan.transformer_rate,
            "start": [_facts_of(path) for path in plan.start],
            "teachers": [teacher.facts for teacher in teachers],
        },
        "training_files": dict(data.training.sha256),
        "unlabelled_files": dict(data.unlabelled.sha256),
        "validation_files": dict(data.validation.sha256),
        **({"single_texts": True} if data.single else {}),
        **({"rows_without_label": undecided} if (undecided := _undecided(data)) else {}),
    }


def _undecided(data: TrainingData) -> dict[str, int]:
    """Return the number of dropped rows without a label, by file."""
    files = [data.training, data.validation, *([data.test] if data.test else [])]
    return {name: count for one in files for name, count in one.undecided.items()}


def _facts_of(adapter: Path) -> dict[str, Any]:
    """Return the digest of an adapter, and the record of its own training."""
    record = read_record(adapter)
    return {
        "sha256": sha256_of(adapter / TENSORS),
        "plan": record["plan"],
        "training_files": record["training_files"],
        "unlabelled_files": record.get("unlabelled_files", {}),
    }


def _figures(
    result: TrainingResult, quality: LabelQuality, calibration: Calibration, data: TrainingData
) -> dict[str, Any]:
    pairs = len(data.validation.pairs)
    return {
        "accuracy": quality.accuracy,
        "f1": quality.f1,
        "expected_calibration_error": calibration.error_after,
        "expected_calibration_error_before": calibration.error_before,
        "temperature": calibration.temperature,
        "accuracy_by_epoch": result.accuracies,
        "kept_epoch": result.kept_epoch,
        "pairs_trained_on": len(data.training.pairs),
        "unlabelled_pairs": len(data.unlabelled.pairs),
        "pairs_measured": pairs,
        "pairs_measured_by_epoch": min(PROGRESS_PAIRS, pairs),
        "training_seconds": result.seconds,
    }


def _measured(
    start: BaseModel, model: keras.Model, files: PairFiles[LabelledPair], max_tokens: int
) -> dict[str, Any]:
    """Return the figures of the test pairs, which choose nothing."""
    pairs = _encode(start, files.pairs, max_tokens)
    quality = LabelQuality.of(logits_of(model, pairs), pairs.labels)
    return {
        "accuracy": quality.accuracy,
        "f1": quality.f1,
        "pairs": len(pairs),
        "files": dict(files.sha256),
    }


def _notice(data: TrainingData) -> str:
    return f"Fine-tuned on {', '.join((*data.training.sha256, *data.unlabelled.sha256))}."
