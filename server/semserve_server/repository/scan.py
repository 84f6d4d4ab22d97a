"""The bundles of a directory, by what each says of itself, before any of them is proved."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from semserve_server.errors import BundleError, StartupError
from semserve_server.repository.manifest import find_bundles, read_manifest


@dataclass(frozen=True, slots=True)
class BundleEntry:
    """A directory that has a manifest."""

    directory: Path
    name: str
    """The model's; the directory's own where the manifest cannot be read."""
    digest: str
    """The bundle's; empty where the manifest cannot be read."""
    state: tuple[tuple[str, int, int], ...]
    """Name, bytes and time of change of every file: another once somebody has written here."""
    problem: StartupError | None = None
    """Why it cannot even be tried."""


def list_bundles(models: Path) -> list[BundleEntry]:
    """List the bundles of a directory, or the bundle that it is.

    Raises:
        BundleError: there are none.
    """
    listings = [_list(directory) for directory in find_bundles(models)]
    names = Counter(listing.name for listing in listings)
    return [one if names[one.name] == 1 else _not_alone(one) for one in listings]


def _list(directory: Path) -> BundleEntry:
    try:
        with os.scandir(directory) as entries:
            stats = [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
        state = tuple(sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats))
        manifest, digest = read_manifest(directory)
    except OSError as error:  # the directory is being replaced, or the disk is at fault
        return BundleEntry(directory, directory.name, "", (), BundleError(f"{directory}: {error}"))
    except StartupError as error:
        return BundleEntry(directory, directory.name, "", state, error)
    return BundleEntry(directory, manifest.model, digest, state)


def _not_alone(one: BundleEntry) -> BundleEntry:
    problem = BundleError(
        f"{one.directory}: another bundle has the name {one.name!r} too: remove one"
    )
    return BundleEntry(one.directory, one.name, one.digest, one.state, problem)
