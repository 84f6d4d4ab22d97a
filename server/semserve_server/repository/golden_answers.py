"""`golden.json`: results of the original model, which the server must reproduce."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from semserve_server.repository.field_types import Ids, Numbers, Side, Strict, Tolerance


class SparseNumbers(Strict, frozen=True, kw_only=True):
    """The numbers of a row that are not 0."""

    indices: Annotated[list[Annotated[int, Meta(ge=0, lt=1_000_000)]], Meta(max_length=65_536)]
    """Indices in the row, from 0, each once."""
    values: Annotated[list[float], Meta(max_length=65_536)]
    """The numbers at these indices."""

    def dense(self, outputs: int) -> NDArray[np.float32]:
        """Return the whole row, float32 [outputs]; empty if the row is invalid."""
        if len(self.indices) != len(self.values) or max(self.indices, default=0) >= outputs:
            return np.array((), np.float32)
        row = np.zeros(outputs, np.float32)
        row[self.indices] = self.values
        return row


class GoldenCase(Strict, frozen=True, kw_only=True):
    """One text or pair with the result of Keras for it, alone and without padding."""

    text: str | None = None
    premise: str | None = None
    hypothesis: str | None = None
    side: Side | None = None
    """Encoder of the row, if the manifest has sides."""
    token_ids: Ids
    """Ids of the text or the joined pair; for separate inputs, of the first text."""
    segment_ids: Ids
    token_ids_right: Ids | None = None
    """For separate inputs, ids of the second text."""
    embedding: Numbers | None = None
    logits: Numbers | None = None
    weights: SparseNumbers | None = None
    """Result of a sparse embedding model, without its zeros."""

    @property
    def item(self) -> str | tuple[str, str]:
        """The text, or the pair."""
        if self.premise is not None and self.hypothesis is not None:
            return self.premise, self.hypothesis
        return self.text or self.premise or ""

    def row(self, outputs: int) -> NDArray[np.float32]:
        """Return the expected result: float32 [outputs], or another size if the case is invalid.

        Args:
            outputs: size of the model's rows, which a sparse result does not contain.
        """
        if self.weights is not None:
            return self.weights.dense(outputs)
        return np.array(self.embedding or self.logits or (), np.float32)


class Golden(Strict, frozen=True, kw_only=True):
    """`golden.json`: the results that a model must reproduce before it is loaded."""

    schema_version: Literal[1]
    tolerance: Tolerance
    cases: Annotated[list[GoldenCase], Meta(min_length=1, max_length=1024)]
