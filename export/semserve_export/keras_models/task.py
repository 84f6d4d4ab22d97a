"""The task, labels and scores of a Keras model, from the model or from the options."""

from dataclasses import dataclass

import numpy as np

from semserve_export.bundle.tolerance import Rows
from semserve_export.errors import WeightsError
from semserve_export.keras_models.head import LOSSES, KerasHead, Loss
from semserve_export.model_spec import Metric, Scores, Task
from semserve_export.options import ModelOptions
from semserve_export.report import Fact, Origin

UNIT = 1e-4  # largest permitted difference of a vector's length from 1


@dataclass(frozen=True, slots=True)
class TaskReading:
    """The task of a model, with its labels and scores."""

    task: Task
    head: KerasHead
    labels: tuple[str, ...] | None = None
    scores: Scores | None = None  # the server's function from logits to scores
    metric: Metric | None = None
    normalized: bool | None = None
    normalize: bool = (
        False  # whether the graph scales vectors to length 1, because the model does not
    )
    facts: tuple[Fact, ...] = ()

    def expected(self, rows: Rows) -> Rows:
        """Return the outputs of the served model for outputs of the model."""
        if not self.normalize:
            return rows
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.asarray(rows / np.maximum(lengths, 1e-12), np.float32)


def read_task(options: ModelOptions, head: KerasHead, rows: Rows, loss: Loss) -> TaskReading:
    """Determine the task of a model.

    Args:
        options: the options of the export.
        head: the head of the model.
        rows: its outputs for texts, fp32 [texts, outputs].
        loss: the loss of its training.

    Raises:
        WeightsError: the options contradict the model, or a property cannot be determined.
    """
    trained = None if head.scores else LOSSES.get(loss.name or "")
    task, origin = _task(options, head, trained)
    _require_flags(options, task)
    if task == "embedding":
        return _embedder(options, head, rows, origin)
    scores, scores_origin = _scores(options, head, trained, task)
    facts = (Fact("task", task, origin), Fact("scores", scores, scores_origin))
    if task == "score":
        if head.outputs != 1:
            raise WeightsError(f"task: a score is one output, and the model has {head.outputs}")
        return TaskReading("score", head, scores=scores, facts=facts)
    labels = _labels(options, head)
    named = Fact("labels", ", ".join(labels), "stated" if options.labels else "assumed")
    return TaskReading("classification", head, labels=labels, scores=scores, facts=(*facts, named))


def _task(options: ModelOptions, head: KerasHead, trained: Scores | None) -> tuple[Task, Origin]:
    """Return the task and its origin."""
    if options.task == "embedding" and head.scores:
        raise WeightsError(
            f"task: the model ends in {head.scores}, so it gives no embeddings; export the part"
            " before its last layer"
        )
    if options.task:
        return options.task, "stated"
    if head.outputs == 1:
        return "score", "found"
    if head.scores or trained:
        return "classification", "found"
    if options.labels or options.scores:
        return "classification", "stated"
    if head.bounded and not head.pools:
        raise WeightsError(
            "task: the model's outputs lie between 0 and 1, and neither its last layer nor its loss"
            " tells what they are; pass it (--task embedding, or --task classification with"
            " --scores sigmoid or softmax)"
        )
    return "embedding", "found" if not head.dense else "assumed"


def _scores(
    options: ModelOptions, head: KerasHead, trained: Scores | None, task: Task
) -> tuple[Scores, Origin]:
    found = head.scores or trained
    if task == "score" and "softmax" in (found, options.scores):
        raise WeightsError(
            "scores: the softmax of one output is always 1; a model of one output takes sigmoid or"
            " none, and a loss for it"
        )
    if options.scores and found and options.scores != found:
        by = "ends in" if head.scores else "was trained with a loss of"
        raise WeightsError(f"scores: {options.scores} contradicts the model, which {by} {found}")
    if options.scores:
        return options.scores, "stated"
    if found:
        return found, "found"
    if task == "score":
        return "none", "found"
    if head.bounded:
        raise WeightsError(
            "scores: the model's outputs lie between 0 and 1, and neither its last layer nor its"
            " loss tells how they were made; pass it (--scores sigmoid for labels that are"
            " independent of each other, --scores softmax if the outputs are logits)"
        )
    return "softmax", "assumed"


def _labels(options: ModelOptions, head: KerasHead) -> tuple[str, ...]:
    if head.outputs == 1:
        raise WeightsError("task: one output chooses among no labels; its task is score")
    # The label of a class without a name is its number, as in training.
    labels = options.labels or tuple(map(str, range(head.outputs)))
    if len(labels) != head.outputs:
        raise WeightsError(
            f"labels: {head.outputs} classes need as many labels, in the order of the outputs"
            f" (--label once for each), and there are {len(labels)}"
        )
    return labels


def _embedder(options: ModelOptions, head: KerasHead, rows: Rows, origin: Origin) -> TaskReading:
    lengths = np.linalg.norm(rows, axis=1)
    unit = bool((np.abs(lengths[lengths > 0] - 1) <= UNIT).all())
    if options.normalize is False and unit:
        raise WeightsError("normalize: the model itself brings its vectors to length 1")
    normalized = unit or bool(options.normalize)
    metric = options.metric or "cosine"
    return TaskReading(
        "embedding",
        head,
        metric=metric,
        normalized=normalized,
        normalize=normalized and not unit,
        facts=(
            Fact("task", "embedding", origin),
            Fact(
                "length of a vector",
                "1" if normalized else "as the model gives it",
                "stated" if options.normalize and not unit else "found",
            ),
            Fact("metric", metric, "stated" if options.metric else "assumed"),
        ),
    )


def _require_flags(options: ModelOptions, task: Task) -> None:
    """Refuse arguments of another task.

    Raises:
        WeightsError: the message names the argument.
    """
    given = {
        "labels": (bool(options.labels), {"classification"}),
        "scores": (options.scores is not None, {"classification", "score"}),
        "metric": (options.metric is not None, {"embedding"}),
        "normalize": (options.normalize is not None, {"embedding"}),
    }
    for name, (said, tasks) in given.items():
        if said and task not in tasks:
            of = " or ".join(sorted(tasks))
            raise WeightsError(f"{name}: is for the task {of}, and the model's is {task}")
    if options.pooling:
        raise WeightsError("pooling: the model gives one vector a text, so nothing is pooled")
    if options.pair:
        raise WeightsError("pair: the model takes one text")
