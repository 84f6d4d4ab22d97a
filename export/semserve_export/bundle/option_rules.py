"""What is wrong with a request to export a user's model, and is known before Keras is loaded."""

from collections.abc import Sequence

from semserve_export.bundle.schema import require_fields
from semserve_export.errors import ExportError
from semserve_export.model_spec import Task
from semserve_export.options import OwnModel
from semserve_export.untrusted.input_files import require_readable


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
    if not asked.served_name:
        raise ExportError(f"{asked.path}: no name can be made of it; say one with --name")
    require_fields(
        {
            "model": asked.served_name,
            "description": asked.description,
            "labels": list(asked.labels) or None,
            "max_sequence_length": asked.max_sequence_length,
        },
        {
            "model": "--name",
            "description": "--description",
            "labels": "--label",
            "max_sequence_length": "--max-sequence-length",
        },
    )


def require_flags_of_task(asked: OwnModel, task: Task) -> None:
    """Refuse a flag of embedders for a classifier, and a flag of classifiers for an embedder.

    Raises:
        ExportError: it names the flag.
    """
    given: dict[str, tuple[Task, bool]] = {
        "--label": ("classification", bool(asked.labels)),
        "--pair": ("classification", asked.pair),
        "--pooling": ("embedding", asked.pooling is not None),
        "--normalize": ("embedding", asked.normalize is not None),
    }
    names: dict[Task, str] = {"classification": "a classifier", "embedding": "an embedder"}
    for flag, (of, is_given) in given.items():
        if is_given and of != task:
            raise ExportError(f"{flag} is for {names[of]}, and the model is {names[task]}")


def require_flags_of_adapter(asked: OwnModel, labels: Sequence[str], activation: str) -> None:
    """Refuse a flag that contradicts what an adapter was trained with.

    Args:
        asked: what is asked for, with an adapter.
        labels: those of the training, in the order of the logits.
        activation: the GELU of the training.

    Raises:
        ExportError: it names the flag.
    """
    require_flags_of_task(asked, "classification")
    if asked.task == "embedding":
        raise ExportError("--task embedding: an adapter makes a classifier of the model")
    if asked.labels and list(asked.labels) != list(labels):
        raise ExportError(f"--label: the adapter was trained with the labels {', '.join(labels)}")
    if asked.activation and asked.activation != activation:
        raise ExportError(f"--activation: the adapter was trained with {activation}")
