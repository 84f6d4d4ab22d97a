"""The interface between the batcher and what runs a batch: a session, the echo model, or a test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from semserve_server.runtime.encoding import Encoding

Rows: TypeAlias = NDArray[np.float32]
"""Float32 [texts, outputs]: one row for each text, in the order of the texts."""


class Runner(Protocol):
    """Runs batches, several at the same time."""

    def run(self, encodings: Sequence[Encoding], *, exclusive: bool = False) -> Rows:
        """Return one row for each encoding. Called on several threads at the same time.

        Args:
            encodings: at least one.
            exclusive: whether no other run is active or queued, so that this run may use all
                threads.
        """
