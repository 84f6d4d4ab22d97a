"""Detects the lack of progress, counted in checks. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

Subject = TypeVar("Subject", bound=Hashable)


class Progress:
    """Compares what each check sees with the check before.

    Checks are counted instead of time, because a process that was stopped (by a signal, or with its
    machine) has not been hanging for as long as the clock says.
    """

    def __init__(self) -> None:
        self._seen: dict[Hashable, tuple[object, int]] = {}

    def check(self, progress: Mapping[Subject, object]) -> dict[Subject, int]:
        """Do one check.

        Args:
            progress: the subjects, each with a value that changes when there is progress.

        Returns:
            For each subject, how many checks in a row have seen the same value since the first one.
        """
        unchanged = {}
        for subject, value in progress.items():
            last, checks = self._seen.get(subject, (None, 0))
            unchanged[subject] = checks + 1 if subject in self._seen and last == value else 0
        self._seen = {subject: (progress[subject], checks) for subject, checks in unchanged.items()}
        return unchanged
