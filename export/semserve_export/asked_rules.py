"""What is wrong with a request to export a user's model, and is known before Keras is loaded."""

from semserve_export.asked import OwnModel
from semserve_export.contract import require_fields
from semserve_export.errors import ExportError
from semserve_export.input_files import require_readable


def require_possible(asked: OwnModel) -> None:
    """Refuse what cannot be exported: files that are not there, and what the server refuses.

    Raises:
        ExportError: it names the file or the flag.
    """
    require_readable(asked.path)
    for path in (asked.tokenizer, asked.adapter and str(asked.adapter)):
        if path:
            require_readable(path)
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
