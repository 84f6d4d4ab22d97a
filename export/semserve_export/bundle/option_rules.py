"""Checks of the options of an export that do not need Keras."""

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
from semserve_export.options import ModelOptions
from semserve_export.untrusted.input_files import require_readable

KINDS: dict[Task, str] = {
    "classification": "a classifier",
    "embedding": "an embedder",
    "score": "a model of one output",
    "sparse_embedding": "a sparse embedder",
}
"""The name of a model of each task in messages."""
CHOICES: dict[str, Any] = {
    "task": Task,
    "scores": Scores,
    "pooling": Pooling,
    "metric": Metric,
    "padding": Padding,
    "truncating": Padding,
    "activation": Activation,
}
"""The fields of `ModelOptions` with a fixed set of values."""


def require_choices(options: ModelOptions) -> None:
    """Refuse an invalid value of an argument of the Python call.

    The parser of the command line makes the same check.

    Raises:
        ExportError: the message names the argument and its valid values.
    """
    for name, kind in CHOICES.items():
        value = getattr(options, name)
        if value is not None and value not in get_args(kind):
            known = ", ".join(get_args(kind))
            raise ExportError(f"{name}: {value!r} is none of {known}")


def require_possible(options: ModelOptions) -> None:
    """Refuse options that cannot work: missing files, and values that the server refuses.

    Raises:
        ExportError: it names the file or the flag.
    """
    length = options.padded_length
    if length is not None and (type(length) is not int or length < 1):
        raise ExportError(f"--padded-length: {length!r} is no number of tokens")
    if options.live is None:
        require_readable(options.path)
    if isinstance(options.tokenizer, str):
        require_readable(options.tokenizer)
    if options.adapter:
        require_readable(str(options.adapter))
    if options.adapter and not options.adapter.is_dir():
        raise ExportError(f"{options.adapter}: no such directory of an adapter")
    if options.licence and not options.licence.is_file():
        raise ExportError(f"--license: {options.licence}: no such file")
    if options.text_order and sorted(options.text_order) != sorted(PREMISE_FIRST):
        raise ExportError("text_order: must name premise and hypothesis, each once")
    if not options.served_name:
        raise ExportError(f"{options.path}: no name can be made of it; pass one with --name")
    require_fields(
        {
            "model": options.served_name,
            "description": options.description,
            "labels": list(options.labels) or None,
            "prompts": dict(options.prompts) or None,
            "max_sequence_length": options.max_sequence_length,
        },
        {
            "model": "--name",
            "description": "--description",
            "labels": "--label",
            "prompts": "--prompt",
            "max_sequence_length": "--max-sequence-length",
        },
    )


def require_no_padding(options: ModelOptions) -> None:
    """Refuse the flags of `pad_sequences` for a model with its own padding and truncation.

    Raises:
        ExportError: it names the flag.
    """
    for name in ("padding", "truncating", "padded_length"):
        if getattr(options, name) is not None:
            raise ExportError(
                f"{name}: is for a model that was trained on sequences of pad_sequences, and this"
                " is a transformer with a tokenizer of its own"
            )


def require_flags_of_task(options: ModelOptions, task: Task) -> None:
    """Refuse a flag that has no effect for the task of the model.

    Raises:
        ExportError: it names the flag.
    """
    prompted = bool(options.prompts) or options.default_prompt is not None
    given: dict[str, tuple[tuple[Task, ...], bool]] = {
        "--label": (("classification",), bool(options.labels)),
        "--pair": (("classification", "score"), options.pair),
        "--pair-order": (("classification", "score"), options.text_order is not None),
        "--scores": (("classification", "score"), options.scores is not None),
        "--pooling": (("embedding",), options.pooling is not None),
        "--normalize": (("embedding",), options.normalize is not None),
        "--metric": (("embedding",), options.metric is not None),
        "--prompt": (("embedding", "sparse_embedding"), prompted),
    }
    for flag, (of, is_given) in given.items():
        if is_given and task not in of:
            raise ExportError(f"{flag} is for {KINDS[of[0]]}, and the model is {KINDS[task]}")


def require_flags_of_adapter(
    options: ModelOptions, labels: Sequence[str], activation: str, *, pair: bool = True
) -> None:
    """Refuse a flag that contradicts the training of an adapter.

    Args:
        options: the options of the export, with an adapter.
        labels: labels of the training, in the order of the logits.
        activation: activation of the training.
        pair: whether the adapter was trained on pairs instead of single texts.

    Raises:
        ExportError: it names the flag.
    """
    require_flags_of_task(options, "classification")
    if options.takes_pairs and not pair:
        raise ExportError("--pair, --pair-order: the adapter was trained on single texts")
    if options.task not in (None, "classification"):
        raise ExportError(f"--task {options.task}: an adapter makes a classifier of the model")
    if options.text_order not in (None, PREMISE_FIRST):
        raise ExportError("--pair-order: `train` trains on the premise first")
    if options.scores not in (None, "softmax"):
        raise ExportError(f"--scores {options.scores}: `train` trains for softmax")
    if options.labels and list(options.labels) != list(labels):
        raise ExportError(f"--label: the adapter was trained with the labels {', '.join(labels)}")
    if options.activation and options.activation != activation:
        raise ExportError(f"--activation: the adapter was trained with {activation}")
