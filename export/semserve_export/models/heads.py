"""The head of a classifier: what makes scores of its logits, and which task it is for."""

from typing import Any

import keras

from semserve_export.bundle.option_rules import KINDS
from semserve_export.errors import WeightsError
from semserve_export.model_spec import Scores, Task
from semserve_export.options import ModelOptions
from semserve_export.report import Fact

SCORES: dict[str, Scores | None] = {"linear": None, "softmax": "softmax", "sigmoid": "sigmoid"}
"""By the name of the last layer's activation. A head without one does not tell: it was trained on
its logits, with a loss that makes something of them."""


def take_scores(model: Any, options: ModelOptions) -> tuple[Scores, Fact]:
    """Remove the activation of a classifier's last layer, and tell which scores it stood for.

    Args:
        model: a KerasHub text classifier; it gives logits afterwards.
        options: what the caller says.

    Raises:
        WeightsError: the server has no such activation, or the caller contradicts it.
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
    """Settle what makes scores of a head's outputs, and say who said so.

    Where nobody says it, several outputs are taken for the logits of a softmax, and one output is
    served as it is.

    Args:
        outputs: how many the head has.
        found: what the model says, where it does.
        options: what the caller says.
        where: what the model says, for a message.

    Raises:
        WeightsError: both contradict each other, or what they say has no meaning for one output.
    """
    if options.scores and found and options.scores != found:
        raise WeightsError(f"--scores {options.scores}: {where}")
    scores = options.scores or found
    if scores == "softmax" and outputs == 1:
        raise WeightsError(f"{where}: the softmax of one output is always 1; say --scores sigmoid")
    origin = "stated" if options.scores else "found" if found else "assumed"
    scores = scores or ("none" if outputs == 1 else "softmax")
    return scores, Fact("scores", scores, origin)  # type: ignore[arg-type]  # one of three


def task_of(outputs: int, stated: Task | None) -> Task:
    """Tell what a head of so many outputs is for.

    Raises:
        WeightsError: the caller says something else.
    """
    task: Task = "score" if outputs == 1 else "classification"
    if stated not in (None, task):
        raise WeightsError(
            f"--task {stated}: the head has {outputs} output{'s' * (outputs > 1)}, so the model is"
            f" {KINDS[task]} (--task {task})"
        )
    return task
