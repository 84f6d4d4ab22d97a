"""The directory of `--calibration-cache`, which nobody else may be able to write."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from semserve_server.errors import ConfigError

log = logging.getLogger(__name__)

NONE = "none"
"""What the setting says for no directory."""
AUTO = "auto"
"""What it says for the user's own cache, where that can be used."""


def chosen(setting: str, environment: Mapping[str, str]) -> str:
    """Return a directory or `none` for a setting that may be `auto`; that never fails.

    Args:
        setting: of `--calibration-cache`.
        environment: of the process.
    """
    if setting != AUTO:
        return setting
    directory = default_directory(environment)
    if directory is None:
        return NONE
    try:
        return str(private_directory(directory))
    except ConfigError as error:
        log.info("calibrations are not kept: %s", error)
        return NONE


def default_directory(environment: Mapping[str, str]) -> Path | None:
    """Return where caches lie by the XDG Base Directory Specification; None where that is nowhere.

    Args:
        environment: of the process.
    """
    base, home = environment.get("XDG_CACHE_HOME", ""), environment.get("HOME", "")
    for path in (Path(base), Path(home, ".cache")):
        if path.is_absolute():  # the specification: ignore what is not
            return path / "semserve"
    return None


def private_directory(directory: Path) -> Path:
    """Return a directory that this user alone can write; it is made where it is missing.

    Raises:
        ConfigError: it cannot be made, or others can write it.
    """
    said = f"--calibration-cache {directory}:"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = directory.stat(follow_symlinks=False)
    except OSError as error:
        raise ConfigError(
            f"{said} {error.strerror}: name a directory that can be made, or none"
        ) from error
    if not stat.S_ISDIR(status.st_mode):
        raise ConfigError(f"{said} it is no directory: name one, or none")
    if problem := untrusted(status):
        raise ConfigError(f"{said} {problem}: name a directory of your own, or chmod go-w it")
    return directory


def untrusted(status: os.stat_result) -> str:
    """Tell why somebody else may have written a file or directory; empty where nobody can have."""
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        return "it is no regular file"
    # Windows has neither owners by number nor these bits.
    if hasattr(os, "geteuid") and status.st_uid not in {0, os.geteuid()}:
        return "it belongs to another user"
    if hasattr(os, "geteuid") and status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "others can write it"
    return ""
