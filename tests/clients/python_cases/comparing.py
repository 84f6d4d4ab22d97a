"""What a case expects, compared with what the client gave."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Case = dict[str, Any]


class Failed(Exception):
    """A case did not come out as the table says."""


class Comparing:
    """Compares answers with what a case expects.

    Attributes:
        expect: of the case.
        tolerance: by which numbers may differ.
    """

    expect: Case
    tolerance: float

    def _same_embeddings(self, expected: Case, found: Any) -> None:
        if "each" in expected:
            self._same("vectors", [expected["each"]] * expected["count"], found.vectors)
        if "vectors" in expected:
            self._same_rows("vectors", expected["vectors"], found.vectors)
        for name in ("model", "token_counts", "truncated_tokens"):
            if name in expected:
                equal(name, expected[name], plain(getattr(found, name)))
        if "usage_token_count" in expected:
            equal("usage", expected["usage_token_count"], found.usage.token_count)
        self._same_errors(expected, found)

    def _same_classifications(self, expected: Case, found: Any) -> None:
        for name in ("model", "classes"):
            if name in expected:
                equal(name, expected[name], plain(getattr(found, name)))
        if "labels" in expected:
            equal("labels", [label or "" for label in expected["labels"]], list(found.labels))
        for name in ("scores", "logits"):
            if name in expected:
                self._same_rows(name, expected[name], getattr(found, name))
        self._same_errors(expected, found)

    def _same_totals(self, found: Any) -> None:
        totals = {
            "model": found.model,
            "usage_token_count": found.usage.token_count,
            "all_truncated_tokens": found.truncated_tokens,
        }
        for name, value in totals.items():
            if name in self.expect:
                equal(name, self.expect[name], value)

    def _same_models(self, found: list[Any]) -> None:
        for expected, model in zip(self.expect["models"], found, strict=True):
            for name, value in expected.items():
                equal(name, value, plain(getattr(model, name)))

    def _same_rows(self, name: str, expected: list[Any], found: Any) -> None:
        equal(f"number of {name}", len(expected), len(found))
        for row, other in zip(expected, found, strict=True):
            if row is not None:
                self._same(name, row, other)

    def _same(self, name: str, expected: Any, found: Any) -> None:
        left, right = np.array(expected, np.float64), np.array(found, np.float64)
        if left.shape != right.shape or not (np.abs(left - right) <= self.tolerance).all():
            raise Failed(f"{name}: expected {expected}, found {found}")

    def _same_errors(self, expected: Case, found: Any) -> None:
        errors = expected.get("errors", {})
        equal("errors", {int(place) for place in errors}, set(found.errors))
        for place, error in errors.items():
            self._same_error(error, found.errors[int(place)])

    def _same_error(self, expected: Case, found: Any) -> None:
        if found is None or found.code != expected["code"]:
            raise Failed(f"expected {expected}, found {found!r}")
        if "fields" in expected:
            equal("fields", expected["fields"], list(getattr(found, "fields", {})))
        if "retry_after_s" in expected:
            least, most = expected["retry_after_s"]
            if not least <= found.retry_after <= most:
                raise Failed(f"retry after {found.retry_after} s, not {least} to {most} s")


def hits(found: Any) -> list[list[float]]:
    return [[hit.index, hit.score] for hit in found]


def plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value


def equal(name: str, expected: Any, found: Any) -> None:
    if expected != found:
        raise Failed(f"{name}: expected {expected}, found {found}")
