"""The origin of a model, and the data of its file besides its layers."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Origins:
    """The origin of a model, for its bundle."""

    source: str  # for people
    licence: str  # the text of the bundle's LICENSE
    sha256: str | None = None  # of its file
    loss: Any = None  # loss of its training, if the file has it
