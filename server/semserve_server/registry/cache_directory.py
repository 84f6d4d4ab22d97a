"""The directories of `--cache-dir` and `--calibration-cache`, as the settings name them."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from semserve_server.config import Config
from semserve_server.errors import ConfigError
from semserve_server.system.private_files import private_directory

log = logging.getLogger(__name__)

NONE = "none"
"""Value of the setting for no directory."""
AUTO = "auto"
"""Value of the setting for the user's cache directory, if that is usable."""
_IN_MEMORY = frozenset({"tmpfs", "ramfs", "devtmpfs"})
"""Types of file systems whose files are in memory, and nowhere else."""


def resolved(config: Config, environment: Mapping[str, str]) -> Config:
    """Return the settings with a directory or `none` in place of each `auto`. Never raises.

    A directory whose files are in memory is used for measurements only: there, the files of the
    graphs would need more memory than they save.

    Args:
        config: the settings.
        environment: environment variables of the process.
    """
    directory = resolve(config.cache_dir, environment)
    calibrations = directory if config.calibration_cache == AUTO else config.calibration_cache
    if config.cache_dir == AUTO and directory != NONE and _in_memory(Path(directory)):
        log.info("no optimised graph is kept: %s is in memory; see --cache-dir", directory)
        directory = NONE
    return replace(config, cache_dir=directory, calibration_cache=calibrations)


def resolve(setting: str, environment: Mapping[str, str]) -> str:
    """Return the directory or `none` for a setting that may be `auto`. Never raises for `auto`.

    Args:
        setting: value of `--cache-dir`.
        environment: environment variables of the process.
    """
    if setting != AUTO:
        return setting
    directory = default_directory(environment)
    if directory is None:
        log.info("nothing is cached: neither XDG_CACHE_HOME nor HOME is set; see --cache-dir")
        return NONE
    try:
        return str(private_directory(directory, "--cache-dir"))
    except ConfigError as error:
        log.info("nothing is cached: %s", error)
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


def _in_memory(directory: Path) -> bool:
    """Return whether the files of a directory are in memory; False where that is unknown.

    A line of /proc/self/mountinfo is `id parent device root point options … - type source …`.
    """
    try:
        device = directory.stat().st_dev
        mounts = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    except OSError:
        return False
    wanted = f"{os.major(device)}:{os.minor(device)}"
    types = {
        kind.split()[0]
        for mount, _, kind in (line.partition(" - ") for line in mounts)
        if kind and wanted in mount.split()[2:3]
    }
    return bool(types & _IN_MEMORY)
