"""What is wrong with a request to export a user's model, and is known before Keras is loaded."""

from collections.abc import Sequence
from typing import Any, get_args

from semserve_export.bundle.schema import require_fields
from semserve_export.errors import ExportError
from semserve_export.model_spec import (
    PREMISE_FIRST,
    Activation,
    Metric,
    Padding,
    Pooling,
    Scores,
    Task,
)
from semserve_export.options import OwnModel
from semserve_export.untrusted.input_files import require_readable

KINDS: dict[Task, str] = {
    "classification": "a classifier",
    "embedding": "an embedder",
    "score": "a model of one output",
    "sparse_embedding": "a sparse embedder",
}
"""What a model of a task is called in messages."""
CHOICES: dict[str, Any] = {
    "task": Task,
    "scores": Scores,
    "pooling": Pooling,
    "metric": Metric,
    "padding": Padding,
    "truncating": Padding,
    "activation": Activation,
}
"""The fields of `OwnModel` that take one of a few words."""


def require_choices(asked: OwnModel) -> None:
    """Refuse a word that an argument of a Python call does not take.

    The command line needs no such check: its parser makes it.

    Raises:
        ExportError: it names the argument and its words.
    """
    for name, kind in CHOICES.items():
        value = getattr(asked, name)
        if value is not None and value not in get_args(kind):
            known = ", ".join(get_args(kind))
            raise ExportError(f"{name}: {value!r} is none of {known}")
    length = asked.padded_length
    if length is not None and (type(length) is not int or length < 1):
        raise ExportError(f"padded_length: {length!r} is no number of tokens")


def require_possible(asked: OwnModel) -> None:
    """Refuse what cannot be exported: files that are not there, and what the server refuses.

    Raises:
        ExportError: it names the file or the flag.
    """
    if asked.live is None:
        require_readable(asked.path)
    if isinstance(asked.tokenizer, str):
        require_readable(asked.tokenizer)
    if asked.adapter:
        require_readable(str(asked.adapter))
    if asked.adapter and not asked.adapter.is_dir():
        raise ExportError(f"{asked.adapter}: no such directory of an adapter")
    if asked.licence and not asked.licence.is_file():
        raise ExportError(f"--license: {asked.licence}: no such file")
    if asked.text_order and sorted(asked.text_order) != sorted(PREMISE_FIRST):
        raise ExportError("text_order: must name premise and hypothesis, each once")
    if not asked.served_name:
        raise ExportError(f"{asked.path}: no name can be made of it; say one with --name")
    require_fields(
        {
            "model": asked.served_name,
            "description": asked.description,
            "labels": list(asked.labels) or None,
            "prompts": dict(asked.prompts) or None,
            "max_sequence_length": asked.max_sequence_length,
        },
        {
            "model": "--name",
            "description": "--description",
            "labels": "--label",
            "prompts": "--prompt",
            "max_sequence_length": "--max-sequence-length",
        },
    )


def require_flags_of_task(asked: OwnModel, task: Task) -> None:
    """Refuse a flag for a model of a task that the flag has no meaning for.

    Raises:
        ExportError: it names the flag.
    """
    prompted = bool(asked.prompts) or asked.default_prompt is not None
    given: dict[str, tuple[tuple[Task, ...], bool]] = {
        "--label": (("classification",), bool(asked.labels)),
        "--pair": (("classification", "score"), asked.pair),
        "--pair-order": (("classification", "score"), asked.text_order is not None),
        "--scores": (("classification", "score"), asked.scores is not None),
        "--pooling": (("embedding",), asked.pooling is not None),
        "--normalize": (("embedding",), asked.normalize is not None),
        "--metric": (("embedding",), asked.metric is not None),
        "--prompt": (("embedding", "sparse_embedding"), prompted),
    }
    for flag, (of, is_given) in given.items():
        if is_given and task not in of:
            raise ExportError(f"{flag} is for {KINDS[of[0]]}, and the model is {KINDS[task]}")


def require_flags_of_adapter(
    asked: OwnModel, labels: Sequence[str], activation: str, *, pair: bool = True
) -> None:
    """Refuse a flag that contradicts what an adapter was trained with.

    Args:
        asked: what is asked for, with an adapter.
        labels: those of the training, in the order of the logits.
        activation: the GELU of the training.
        pair: whether it was trained on pairs, and not on single texts.

    Raises:
        ExportError: it names the flag.
    """
    require_flags_of_task(asked, "classification")
    if asked.takes_pairs and not pair:
        raise ExportError("--pair, --pair-order: the adapter was trained on single texts")
    if asked.task not in (None, "classification"):
        raise ExportError(f"--task {asked.task}: an adapter makes a classifier of the model")
    if asked.text_order not in (None, PREMISE_FIRST):
        raise ExportError("--pair-order: `train` trains on the premise first")
    if asked.scores not in (None, "softmax"):
        raise ExportError(f"--scores {asked.scores}: `train` trains for softmax")
    if asked.labels and list(asked.labels) != list(labels):
        raise ExportError(f"--label: the adapter was trained with the labels {', '.join(labels)}")
    if asked.activation and asked.activation != activation:
        raise ExportError(f"--activation: the adapter was trained with {activation}")
