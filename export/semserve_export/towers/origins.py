"""Where a model comes from, for its bundle."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Origins:
    """Where a model comes from, for its bundle."""

    source: str  # for people
    sha256: str | None  # of its file
    licence: str  # the text of the bundle's LICENSE
