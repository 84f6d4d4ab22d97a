"""Lists the bundles of a directory by their manifests, before they are verified."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from semserve_server.errors import BundleError, StartupError
from semserve_server.repository.manifest import find_bundles, read_manifest


@dataclass(frozen=True, slots=True)
class BundleEntry:
    """A directory that contains a manifest."""

    directory: Path
    name: str
    """Name of the model; the name of the directory if the manifest cannot be read."""
    digest: str
    """Digest of the bundle; empty if the manifest cannot be read."""
    state: tuple[tuple[str, int, int], ...]
    """Name, size and modification time of every file. Differs after any write to the directory."""
    problem: StartupError | None = None
    """Why the bundle cannot be loaded at all."""


def list_bundles(models: Path) -> list[BundleEntry]:
    """List the bundles of a directory, or the bundle that the directory is.

    Raises:
        BundleError: there are none.
    """
    listings = [_list(directory) for directory in find_bundles(models)]
    names = Counter(listing.name for listing in listings)
    return [one if names[one.name] == 1 else _ambiguous(one) for one in listings]


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


def _ambiguous(one: BundleEntry) -> BundleEntry:
    problem = BundleError(
        f"{one.directory}: another bundle has the name {one.name!r} too: remove one"
    )
    return BundleEntry(one.directory, one.name, one.digest, one.state, problem)
