"""How long things have not moved, counted in looks. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

Subject = TypeVar("Subject", bound=Hashable)


class Progress:
    """Compares what is seen at each look with the last one.

    Looks are counted and not the clock, since a process that was stopped itself, with its machine
    or by a signal, has not been hanging for as long as the clock says.
    """

    def __init__(self) -> None:
        self._seen: dict[Hashable, tuple[object, int]] = {}

    def look(self, progress: Mapping[Subject, object]) -> dict[Subject, int]:
        """Take a look.

        Args:
            progress: what goes on, each with a value that is another once it has got on.

        Returns:
            For each, how many looks in a row have found the same value since the first that did.
        """
        stalls = {}
        for subject, value in progress.items():
            last, looks = self._seen.get(subject, (None, 0))
            stalls[subject] = looks + 1 if subject in self._seen and last == value else 0
        self._seen = {subject: (progress[subject], looks) for subject, looks in stalls.items()}
        return stalls
