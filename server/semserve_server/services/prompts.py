"""Prompts: named texts in a bundle, which the server puts before each text of a request.

A prompt is prepended before tokenisation, with nothing between prompt and text, as in
sentence-transformers.
"""

from __future__ import annotations

from google.protobuf.message import Message

from semserve_server.errors import InvalidRequest
from semserve_server.repository.manifest import Manifest

LONGEST_SHOWN = 64
"""Most characters of an unknown name that an error repeats."""


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
    prompts = manifest.prompts or {}
    if not request.HasField(field):
        return prompts[manifest.default_prompt] if manifest.default_prompt is not None else ""
    name: str = getattr(request, field)
    if name and name not in prompts:
        shown = name if len(name) <= LONGEST_SHOWN else f"{name[:LONGEST_SHOWN]}…"
        known = f"its prompts are: {', '.join(sorted(prompts))}" if prompts else "it has none"
        raise InvalidRequest.of(field, f"{manifest.model} has no prompt {shown!r}; {known}")
    return prompts[name] if name else ""


def second_prompt_text(manifest: Manifest, request: Message, field: str) -> str:
    """Return the prompt of right texts or documents: their own, or the prompt of all texts.

    Raises:
        InvalidRequest: the model has no prompt of that name.
    """
    return prompt_text(manifest, request, field if request.HasField(field) else "prompt_name")
