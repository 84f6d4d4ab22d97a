"""`golden.json`: answers of the original model, which the server must reproduce."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from semserve_server.repository.field_types import Ids, Numbers, Side, Strict, Tolerance


class SparseNumbers(Strict, frozen=True, kw_only=True):
    """The numbers of a row that are not 0."""

    indices: Annotated[list[Annotated[int, Meta(ge=0, lt=1_000_000)]], Meta(max_length=65_536)]
    """Places in the row, from 0, each once."""
    values: Annotated[list[float], Meta(max_length=65_536)]
    """The numbers of these places."""

    def dense(self, outputs: int) -> NDArray[np.float32]:
        """Return the row with its zeros: float32 [outputs]; empty where it has no such row."""
        if len(self.indices) != len(self.values) or max(self.indices, default=0) >= outputs:
            return np.array((), np.float32)
        row = np.zeros(outputs, np.float32)
        row[self.indices] = self.values
        return row


class GoldenCase(Strict, frozen=True, kw_only=True):
    """One text or pair with what Keras itself gave for it, alone and unpadded."""

    text: str | None = None
    premise: str | None = None
    hypothesis: str | None = None
    side: Side | None = None
    """Which encoder gave the row, where the manifest has sides."""
    token_ids: Ids
    """Of the text or the joined pair; of separate inputs, those of the text that comes first."""
    segment_ids: Ids
    token_ids_right: Ids | None = None
    """Of separate inputs, those of the text that comes second."""
    embedding: Numbers | None = None
    logits: Numbers | None = None
    weights: SparseNumbers | None = None
    """What a sparse embedding model gave, without its zeros."""

    @property
    def item(self) -> str | tuple[str, str]:
        """The text, or the pair."""
        if self.premise is not None and self.hypothesis is not None:
            return self.premise, self.hypothesis
        return self.text or self.premise or ""

    def row(self, outputs: int) -> NDArray[np.float32]:
        """Return what the model should give: float32 [outputs], unless the case has another size.

        Args:
            outputs: how many numbers the model gives; sparse answers do not tell it.
        """
        if self.weights is not None:
            return self.weights.dense(outputs)
        return np.array(self.embedding or self.logits or (), np.float32)


class Golden(Strict, frozen=True, kw_only=True):
    """`golden.json`: the answers that the server must reproduce before it serves."""

    schema_version: Literal[1]
    tolerance: Tolerance
    cases: Annotated[list[GoldenCase], Meta(min_length=1, max_length=1024)]
