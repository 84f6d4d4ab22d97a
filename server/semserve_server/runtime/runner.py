"""What runs a batch, as the batcher sees it: a session, the echo, or in tests what can be held."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from semserve_server.runtime.encoding import Encoding

Rows: TypeAlias = NDArray[np.float32]
"""Float32 [texts, outputs]: one row a text, in their order."""


class Runner(Protocol):
    """It runs batches, several at once."""

    def run(self, encodings: Sequence[Encoding], *, exclusive: bool = False) -> Rows:
        """Return one row an encoding. Called from several threads at once.

        Args:
            encodings: at least one.
            exclusive: whether nothing else runs or waits, so that this run may have all threads.
        """
