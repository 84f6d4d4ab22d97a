"""Checks of the values of a request, before any other work. Pure functions, without gRPC.

The services and the library (`library/`) refuse the same values with the same text.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from semserve_server.config import Config
from semserve_server.errors import ConfigError, InvalidRequest, Violation
from semserve_server.repository.manifest import Manifest
from semserve_server.runtime.tokenizer import Truncation

LONGEST_SHOWN = 64
"""Most characters of an unknown name that an error repeats."""
DEFAULT_TRUNCATIONS = {"end": Truncation.END, "start": Truncation.START}
"""The truncation rules of a manifest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of one request."""

    max_texts: int
    """Most texts, or pairs to classify, over all fields of the request."""
    max_text_bytes: int
    """Most UTF-8 bytes of one text."""
    max_scores: int = 1_048_576
    """Most scores of a request."""
    max_tokenize_bytes: int = 1_048_576
    """Most UTF-8 bytes of all texts of a Tokenize request."""

    @classmethod
    def of(cls, config: Config) -> Self:
        """Return the limits of a configuration."""
        return cls(
            max_texts=config.max_request_texts,
            max_text_bytes=config.max_text_bytes,
            max_scores=config.max_request_scores,
            max_tokenize_bytes=config.max_tokenize_bytes,
        )


def count(field: str, size: int, limits: Limits) -> None:
    """Refuse a repeated field that is empty or too long.

    Raises:
        InvalidRequest: names the field and the limit.
    """
    if not size:
        raise InvalidRequest.of(field, "is empty: at least one is needed")
    if size > limits.max_texts:
        raise InvalidRequest.of(
            field,
            f"{size} texts, at most {limits.max_texts} a request: send several requests, or stream",
        )


def total(counts: Mapping[str, int], limits: Limits) -> None:
    """Refuse a request whose fields have too many texts together.

    Args:
        counts: number of texts in each field, by the field's name.
        limits: the limits.

    Raises:
        InvalidRequest: names each field and the limit.
    """
    size = sum(counts.values())
    if size > limits.max_texts:
        terms = " and ".join(f"{count} in {name}" for name, count in counts.items())
        wrong = (
            f"{terms} are {size} texts, at most {limits.max_texts} a request: send several requests"
        )
        raise InvalidRequest(*(Violation(name, wrong) for name in counts))


def scores(limits: Limits, *factors: tuple[str, int]) -> int:
    """Return the number of scores of a request, or refuse it.

    Args:
        limits: the limits.
        factors: name of a field, and its number of texts or pairs; for each field that multiplies.

    Raises:
        InvalidRequest: names each field and the limit.
    """
    size = math.prod(count for _, count in factors)
    if size > limits.max_scores:
        terms = " x ".join(f"{count} {name}" for name, count in factors)
        wrong = f"{terms} are {size} scores, at most {limits.max_scores} a request: "
        wrong += "send several requests"
        raise InvalidRequest(*(Violation(name, wrong) for name in dict(factors)))
    return size


def total_bytes(field: str, texts: Iterable[str], limits: Limits) -> int:
    """Return the UTF-8 bytes of texts, or refuse a Tokenize request with too many.

    Raises:
        InvalidRequest: names the field and the limit.
    """
    size = sum(len(text.encode()) for text in texts)
    if size > limits.max_tokenize_bytes:
        raise InvalidRequest.of(
            field,
            f"{size} bytes, at most {limits.max_tokenize_bytes} a request: send several requests",
        )
    return size


def texts(fields: Iterable[tuple[str, str]], limits: Limits) -> None:
    """Refuse the request if any text is invalid. The error names every invalid text.

    Args:
        fields: path and text of each.
        limits: the limits.

    Raises:
        InvalidRequest: with a violation for each invalid text.
    """
    violations = [
        Violation(path, wrong) for path, value in fields if (wrong := text(value, limits))
    ]
    if violations:
        raise InvalidRequest(*violations)


def text(value: str, limits: Limits) -> str | None:
    """Return what is wrong with a text; None if it is valid."""
    if not value:
        return "is empty"
    # No character has more than four bytes, so most texts need not be encoded to be measured.
    if len(value) * 4 > limits.max_text_bytes:
        size = len(value.encode())
        if size > limits.max_text_bytes:
            return f"{size} bytes, at most {limits.max_text_bytes}"
    if "\0" in value:
        return f"has a NUL character at {value.index(chr(0))}: is it binary data?"
    return None


def text_violations(field: str, texts: Iterable[str], limits: Limits) -> dict[int, Violation]:
    """Return the violations of the invalid texts of a repeated field, by index."""
    return {
        place: Violation(f"{field}[{place}]", wrong)
        for place, value in enumerate(texts)
        if (wrong := text(value, limits))
    }


def within(field: str, value: int, *, most: int | None = None) -> int:
    """Return a count that a request gave.

    Raises:
        InvalidRequest: the count is below 1, or above `most`.
    """
    if value < 1:
        raise InvalidRequest.of(field, f"{value}, at least 1")
    if most is not None and value > most:
        raise InvalidRequest.of(field, f"{value}, at most {most}")
    return value


def named_prompt(manifest: Manifest, name: str | None, field: str) -> str:
    """Return the text of a prompt, or of the model's default prompt.

    Args:
        manifest: the manifest of the model.
        name: the prompt's name; empty for no prompt, None for the default prompt.
        field: name of the field that names the prompt.

    Returns:
        The prompt's text; empty without a prompt.

    Raises:
        InvalidRequest: the model has no prompt of that name.
    """
    prompts = manifest.prompts or {}
    if name is None:
        return prompts[manifest.default_prompt] if manifest.default_prompt is not None else ""
    if name and name not in prompts:
        known = f"its prompts are: {', '.join(sorted(prompts))}" if prompts else "it has none"
        raise InvalidRequest.of(field, f"{manifest.model} has no prompt {shown(name)!r}; {known}")
    return prompts[name] if name else ""


def shown(name: str) -> str:
    """Shorten a name from a request for an error message."""
    return name if len(name) <= LONGEST_SHOWN else f"{name[:LONGEST_SHOWN]}…"


def check_limits(config: Config) -> None:
    """Refuse a request limit that is larger than the queue that must hold the request.

    Raises:
        ConfigError: names both flags.
    """
    bounds = (
        (
            ("--max-request-texts", config.max_request_texts),
            ("--max-queue-entries", config.max_queue_entries),
        ),
        (
            ("--max-request-scores", config.max_request_scores),
            ("--max-queue-scores", config.max_queue_scores),
        ),
    )
    for (name, most), (queue, room) in bounds:
        if most > room:
            raise ConfigError(f"{name} {most}: must be at most {queue} {room}")
