"""The bundles on the disk that failed to load, and the reasons. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from semserve_server.errors import BundleUnreadable, StartupError
from semserve_server.repository.scan import BundleEntry


@dataclass(frozen=True, slots=True)
class _Refusal:
    entry: BundleEntry
    """The bundle at the time of the failed load."""
    reason: str
    passing: bool
    """Whether the fault was not the bundle's, so that every scan retries it."""


class Refusals:
    """Refused bundles by directory. The reasons are kept by the model's name.

    A refusal ends when the bundle is loaded, is deleted, gets another name, or equals the loaded
    version again. So an operator ends the alarm by restoring the old bundle or deleting the bad
    one.
    """

    def __init__(self, reasons: dict[str, str]) -> None:
        """Create an empty collection.

        Args:
            reasons: kept up to date: why the present bundle on the disk failed to load, by the
                model's name.
        """
        self._reasons = reasons
        self._refused: dict[Path, _Refusal] = {}

    def add(self, entry: BundleEntry, reason: str, error: StartupError) -> bool:
        """Add a bundle that failed to load. Return whether the reason is new."""
        new = self._reasons.get(entry.name) != reason
        passing = isinstance(error, BundleUnreadable)
        self._refused[entry.directory] = _Refusal(entry, reason, passing)
        self._update_reasons()
        return new

    def due(self, entry: BundleEntry) -> bool:
        """Return whether a bundle should be tried: it is not refused, or has changed since."""
        refusal = self._refused.get(entry.directory)
        return refusal is None or refusal.passing or refusal.entry != entry

    def keep(self, entries: Iterable[BundleEntry]) -> None:
        """Drop all refusals except those of these bundles under their present names."""
        names = {one.directory: one.name for one in entries}
        self._refused = {
            directory: refusal
            for directory, refusal in self._refused.items()
            if names.get(directory) == refusal.entry.name
        }
        self._update_reasons()

    def forget(self, entry: BundleEntry) -> None:
        """Drop the refusal of a bundle, which is loaded now."""
        self._refused.pop(entry.directory, None)
        self._update_reasons()

    def forget_name(self, name: str) -> None:
        """Drop the refusals of every bundle of that name."""
        self._refused = {
            directory: refusal
            for directory, refusal in self._refused.items()
            if refusal.entry.name != name
        }
        self._update_reasons()

    def _update_reasons(self) -> None:
        self._reasons.clear()
        for refusal in self._refused.values():
            self._reasons[refusal.entry.name] = refusal.reason
