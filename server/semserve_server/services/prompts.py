"""Prompts: named texts in a bundle, which the server puts before each text of a request.

A prompt is prepended before tokenisation, with nothing between prompt and text, as in
sentence-transformers.
"""

from __future__ import annotations

from google.protobuf.message import Message

from semserve_server.repository.manifest import Manifest
from semserve_server.request_checks import named_prompt


def prompt_text(manifest: Manifest, request: Message, field: str = "prompt_name") -> str:
    """Return the prompt that a request names, or the model's default prompt.

    Args:
        manifest: the manifest of the model.
        request: the request, with an optional field for the name.
        field: name of that field. An empty name means no prompt.

    Returns:
        The prompt's text; empty without a prompt.

    Raises:
        InvalidRequest: the model has no prompt of that name.
    """
    name: str | None = getattr(request, field) if request.HasField(field) else None
    return named_prompt(manifest, name, field)


def second_prompt_text(manifest: Manifest, request: Message, field: str) -> str:
    """Return the prompt of right texts or documents: their own, or the prompt of all texts.

    Raises:
        InvalidRequest: the model has no prompt of that name.
    """
    return prompt_text(manifest, request, field if request.HasField(field) else "prompt_name")
