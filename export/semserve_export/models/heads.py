"""The head of a classifier: the function from its logits to scores, and its task."""

from typing import Any

import keras

from semserve_export.bundle.option_rules import KINDS
from semserve_export.errors import WeightsError
from semserve_export.model_spec import Scores, Task
from semserve_export.options import ModelOptions
from semserve_export.report import Fact

SCORES: dict[str, Scores | None] = {"linear": None, "softmax": "softmax", "sigmoid": "sigmoid"}
"""By the name of the last layer's activation. A head without activation was trained on its logits,
with a loss of unknown function."""


def take_scores(model: Any, options: ModelOptions) -> tuple[Scores, Fact]:
    """Remove the activation of a classifier's last layer, and return its score function.

    Args:
        model: a KerasHub text classifier, which returns logits afterwards.
        options: the
            options of the export.

    Raises:
        WeightsError: the server does not support the activation, or the options contradict it.
    """
    activation = model.output_dense.activation
    name = getattr(activation, "__name__", None) or type(activation).__name__
    if name not in SCORES:
        raise WeightsError(
            f"the head's activation is {name}; what can be served is softmax, sigmoid or none"
            " (logits)"
        )
    chosen = choose_scores(
        model.num_classes, SCORES[name], options, f"the head's activation is {name}"
    )
    model.output_dense.activation = keras.activations.linear
    return chosen


def choose_scores(
    outputs: int, found: Scores | None, options: ModelOptions, where: str
) -> tuple[Scores, Fact]:
    """Determine the function from a head's outputs to scores, and its origin.

    By default, several outputs are the logits of a softmax, and one output is served unchanged.

    Args:
        outputs: number of the head's outputs.
        found: the function that the model specifies, if
            any.
        options: the options of the export.
        where: description of the model's function, for a
            message.

    Raises:
        WeightsError: the two contradict each other, or the function has no meaning for one output.
    """
    if options.scores and found and options.scores != found:
        raise WeightsError(f"--scores {options.scores}: {where}")
    scores = options.scores or found
    if scores == "softmax" and outputs == 1:
        raise WeightsError(f"{where}: the softmax of one output is always 1; pass --scores sigmoid")
    origin = "stated" if options.scores else "found" if found else "assumed"
    scores = scores or ("none" if outputs == 1 else "softmax")
    return scores, Fact("scores", scores, origin)  # type: ignore[arg-type]  # one of three


def task_of(outputs: int, stated: Task | None) -> Task:
    """Return the task of a head with this number of outputs.

    Raises:
        WeightsError: the options specify another task.
    """
    task: Task = "score" if outputs == 1 else "classification"
    if stated not in (None, task):
        raise WeightsError(
            f"--task {stated}: the head has {outputs} output{'s' * (outputs > 1)}, so the model is"
            f" {KINDS[task]} (--task {task})"
        )
    return task
