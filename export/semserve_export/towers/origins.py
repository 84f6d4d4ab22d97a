"""Where a model comes from, and what its file says beside its layers."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Origins:
    """Where a model comes from, for its bundle."""

    source: str  # for people
    licence: str  # the text of the bundle's LICENSE
    sha256: str | None = None  # of its file
    loss: Any = None  # of its training, where its file tells
