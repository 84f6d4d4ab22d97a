"""The bundles on the disk that cannot be served, and why. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from semserve_server.errors import BundleUnreadable, StartupError
from semserve_server.repository.scan import BundleEntry


@dataclass(frozen=True, slots=True)
class _Refusal:
    listing: BundleEntry
    """The bundle as it was when it was tried."""
    told: str
    passing: bool
    """Whether it was not the bundle's fault, so that it is tried again at every look."""


class Refusals:
    """Refused bundles by directory. What is told of them is by the model's name.

    A refusal lasts until the bundle is loaded, is gone, has another name, or is again the one that
    is served. So whoever puts the old bundle back, or deletes the bad one, ends the alarm.
    """

    def __init__(self, told: dict[str, str]) -> None:
        """Begin with none.

        Args:
            told: kept up to date: why the bundle that is on the disk now is not served, by the
                model's name.
        """
        self._told = told
        self._refused: dict[Path, _Refusal] = {}

    def add(self, listing: BundleEntry, told: str, error: StartupError) -> bool:
        """Add a bundle that was tried in vain; tell whether its reason is a new one."""
        new = self._told.get(listing.name) != told
        passing = isinstance(error, BundleUnreadable)
        self._refused[listing.directory] = _Refusal(listing, told, passing)
        self._tell()
        return new

    def due(self, listing: BundleEntry) -> bool:
        """Tell whether a bundle should be tried: it is not refused, or not as it is now."""
        refusal = self._refused.get(listing.directory)
        return refusal is None or refusal.passing or refusal.listing != listing

    def keep(self, listings: Iterable[BundleEntry]) -> None:
        """Forget all refusals but those of these bundles, under the names that they have now."""
        names = {one.directory: one.name for one in listings}
        self._refused = {
            directory: refusal
            for directory, refusal in self._refused.items()
            if names.get(directory) == refusal.listing.name
        }
        self._tell()

    def forget(self, listing: BundleEntry) -> None:
        """Forget a bundle, which is served now."""
        self._refused.pop(listing.directory, None)
        self._tell()

    def forget_name(self, name: str) -> None:
        """Forget every bundle of that name, which is not wanted."""
        self._refused = {
            directory: refusal
            for directory, refusal in self._refused.items()
            if refusal.listing.name != name
        }
        self._tell()

    def _tell(self) -> None:
        self._told.clear()
        for refusal in self._refused.values():
            self._told[refusal.listing.name] = refusal.told
