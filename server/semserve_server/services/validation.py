"""Validation of requests, before any other work: the values of the API's enums.

The checks of plain values are in `request_checks`, and are available here too.
"""

from __future__ import annotations

from collections.abc import Sequence

from semserve.v1 import common_pb2, similarity_pb2

from semserve_server.errors import InvalidRequest
from semserve_server.request_checks import (
    DEFAULT_TRUNCATIONS,
    Limits,
    count,
    scores,
    text,
    text_violations,
    texts,
    total,
    total_bytes,
    within,
)
from semserve_server.runtime.tokenizer import Truncation

__all__ = [
    "DEFAULT_TRUNCATIONS",
    "METRICS",
    "Limits",
    "count",
    "metric",
    "scores",
    "side",
    "text",
    "text_violations",
    "texts",
    "total",
    "total_bytes",
    "truncation",
    "within",
]

_TRUNCATIONS: dict[int, Truncation] = {
    common_pb2.TRUNCATION_END: Truncation.END,
    common_pb2.TRUNCATION_START: Truncation.START,
    common_pb2.TRUNCATION_NONE: Truncation.NONE,
}
_SIDES: dict[int, int] = {common_pb2.SIDE_LEFT: 0, common_pb2.SIDE_RIGHT: 1}
METRICS: dict[int, str] = {
    similarity_pb2.METRIC_COSINE: "cosine",
    similarity_pb2.METRIC_DOT: "dot",
    similarity_pb2.METRIC_EUCLIDEAN: "euclidean",
    similarity_pb2.METRIC_MANHATTAN: "manhattan",
}


def truncation(value: int, default: str) -> Truncation:
    """Return the rule of a Truncation value.

    Raises:
        InvalidRequest: the value is unknown.
    """
    if value == common_pb2.TRUNCATION_UNSPECIFIED:
        return DEFAULT_TRUNCATIONS[default]
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
