"""Validation of requests, before any other work. Pure functions over plain values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from semserve.v1 import common_pb2, similarity_pb2

from semserve_server.errors import InvalidRequest, Violation
from semserve_server.runtime.tokenizer import Truncation

_TRUNCATIONS: dict[int, Truncation] = {
    common_pb2.TRUNCATION_END: Truncation.END,
    common_pb2.TRUNCATION_START: Truncation.START,
    common_pb2.TRUNCATION_NONE: Truncation.NONE,
}
OWN_TRUNCATIONS = {"end": Truncation.END, "start": Truncation.START}
"""The truncation rules of a manifest."""
_SIDES: dict[int, int] = {common_pb2.SIDE_LEFT: 0, common_pb2.SIDE_RIGHT: 1}
METRICS: dict[int, str] = {
    similarity_pb2.METRIC_COSINE: "cosine",
    similarity_pb2.METRIC_DOT: "dot",
    similarity_pb2.METRIC_EUCLIDEAN: "euclidean",
    similarity_pb2.METRIC_MANHATTAN: "manhattan",
}


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


def truncation(value: int, own: str) -> Truncation:
    """Return the rule of a Truncation value.

    Raises:
        InvalidRequest: the value is unknown.
    """
    if value == common_pb2.TRUNCATION_UNSPECIFIED:
        return OWN_TRUNCATIONS[own]
    if value not in _TRUNCATIONS:
        raise InvalidRequest.of("truncation", f"{value} is not a Truncation")
    return _TRUNCATIONS[value]


def side(value: int, sides: Sequence[str] | None) -> int | None:
    """Return the number of a Side value in the graph's input `side`.

    Args:
        value: the value in the request.
        sides: the sides of the model; None for a model with one encoder.

    Returns:
        None for a model with one encoder.

    Raises:
        InvalidRequest: the value is unknown, or missing, or the model has one encoder.
    """
    if value not in (common_pb2.SIDE_UNSPECIFIED, *_SIDES):
        raise InvalidRequest.of("side", f"{value} is not a Side")
    if sides is None:
        if value:
            raise InvalidRequest.of("side", "is given, but this model has one encoder for all")
        return None
    if not value:
        raise InvalidRequest.of("side", "is missing: this model has an encoder for each side")
    return _SIDES[value]


def metric(value: int, default: str) -> str:
    """Return the name of a Metric value, or the model's metric.

    Raises:
        InvalidRequest: the value is unknown.
    """
    if value == similarity_pb2.METRIC_UNSPECIFIED:
        return default
    if value not in METRICS:
        raise InvalidRequest.of("metric", f"{value} is not a Metric")
    return METRICS[value]


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
