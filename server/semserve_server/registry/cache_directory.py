"""The directory of `--calibration-cache`, which other users must not be able to write."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from semserve_server.errors import ConfigError

log = logging.getLogger(__name__)

NONE = "none"
"""Value of the setting for no directory."""
AUTO = "auto"
"""Value of the setting for the user's cache directory, if that is usable."""


def resolve(setting: str, environment: Mapping[str, str]) -> str:
    """Return the directory or `none` for a setting that may be `auto`. Never raises for `auto`.

    Args:
        setting: value of `--calibration-cache`.
        environment: environment variables of the process.
    """
    if setting != AUTO:
        return setting
    directory = default_directory(environment)
    if directory is None:
        return NONE
    try:
        return str(private_directory(directory))
    except ConfigError as error:
        log.info("calibrations are not cached: %s", error)
        return NONE


def default_directory(environment: Mapping[str, str]) -> Path | None:
    """Return the cache directory of the XDG Base Directory Specification, or None.

    Args:
        environment: environment variables of the process.
    """
    base, home = environment.get("XDG_CACHE_HOME", ""), environment.get("HOME", "")
    for path in (Path(base), Path(home, ".cache")):
        if path.is_absolute():  # the specification: ignore what is not
            return path / "semserve"
    return None


def private_directory(directory: Path) -> Path:
    """Return a directory that only this user can write. It is created if missing.

    Raises:
        ConfigError: the directory cannot be created, or other users can write it.
    """
    said = f"--calibration-cache {directory}:"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = directory.stat(follow_symlinks=False)
    except OSError as error:
        raise ConfigError(
            f"{said} {error.strerror}: name a directory that can be created, or none"
        ) from error
    if not stat.S_ISDIR(status.st_mode):
        raise ConfigError(f"{said} it is not a directory: name one, or none")
    if problem := untrusted(status):
        raise ConfigError(f"{said} {problem}: name a directory of your own, or chmod go-w it")
    return directory


def untrusted(status: os.stat_result) -> str:
    """Return why another user may have written a file or directory; empty if none can have."""
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        return "it is not a regular file"
    # Windows has neither owners by number nor these bits.
    if hasattr(os, "geteuid") and status.st_uid not in {0, os.geteuid()}:
        return "another user owns it"
    if hasattr(os, "geteuid") and status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "other users can write it"
    return ""
