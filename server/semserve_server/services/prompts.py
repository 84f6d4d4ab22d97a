"""Prompts: the texts that a model's bundle names, and that are put before each text of a request.

A prompt is put there before the text is tokenised, with nothing between the two, as
sentence-transformers does.
"""

from __future__ import annotations

from google.protobuf.message import Message

from semserve_server.errors import InvalidRequest
from semserve_server.repository.manifest import Manifest

LONGEST_SHOWN = 64
"""Characters of an unknown name that an error repeats."""


def prompt_text(manifest: Manifest, request: Message, field: str = "prompt_name") -> str:
    """Return the text of the prompt that a request names, or of the model's default one.

    Args:
        manifest: of the model.
        request: has the field, which is optional.
        field: names the prompt; an empty name stands for no prompt.

    Returns:
        The text; empty where there is no prompt.

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
    """Return the prompt of the right texts or documents: their own, or else that of all texts.

    Raises:
        InvalidRequest: the model has no prompt of that name.
    """
    return prompt_text(manifest, request, field if request.HasField(field) else "prompt_name")
