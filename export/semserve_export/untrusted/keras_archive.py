"""Checks the entries of a `.keras` file, a zip archive, before any is unpacked."""

import errno
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from semserve_export.errors import WeightsError
from semserve_export.untrusted.hdf5_file import check_hdf5
from semserve_export.untrusted.json_file import parse_json
from semserve_export.untrusted.saved_assets import LARGEST_ASSET, check_assets

CONFIG = "config.json"
METADATA = "metadata.json"
WEIGHTS = "model.weights.h5"
ASSETS = "assets"
LARGEST_WEIGHTS = 64 << 30  # bytes
LARGEST_TEXT = 4 << 20  # bytes of config.json and of metadata.json
MOST_ENTRIES = 200
MOST_TIMES_SMALLER = 200  # largest ratio of unpacked to packed bytes of an entry
UNCHECKED_RATIO = 4 << 20  # bytes; smaller entries may have any ratio
PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,120}")  # of a path inside the archive
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ENCRYPTED = 1  # a bit of an entry's flags
CHUNK = 4 << 20  # bytes
DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, RuntimeError)
"""The errors of zipfile for invalid checksums, sizes, names and offsets."""


def read_config(file: Path) -> dict[str, object]:
    """Check the name and size of every entry, and read only the config.

    Raises:
        WeightsError: the file is not a `.keras` archive, or has unexpected entries.
    """
    with _opened(file) as archive:
        return parse_json(archive.read(_checked_entries(archive)[CONFIG]), CONFIG)


def unpack_archive(file: Path, directory: Path) -> tuple[dict[str, object], int]:
    """Unpack weights and assets, and check them.

    Args:
        file: the archive.
        directory: an empty directory.

    Returns:
        The config, from which the config for Keras is rewritten, and the number of values of the
        weights.

    Raises:
        WeightsError: as `read_config`, or the weights or the assets are refused.
    """
    with _opened(file) as archive:
        entries = _checked_entries(archive)
        config = parse_json(archive.read(entries[CONFIG]), CONFIG)
        for name, entry in entries.items():
            if name != CONFIG:
                _copy(archive, entry, directory / name)
    check_assets(directory / ASSETS)
    return config, check_hdf5(directory / WEIGHTS)


@contextmanager
def _opened(file: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip archive, and convert errors of its structure to one line."""
    if not file.is_file():
        raise WeightsError("no such file")
    try:
        archive = zipfile.ZipFile(file)
    except DAMAGE as error:
        raise WeightsError(_not_an_archive(file)) from error
    with archive:
        try:
            yield archive
        except DAMAGE as error:
            raise WeightsError(f"the .keras file is damaged: {error}") from error
        except OSError as error:
            if error.errno != errno.EINVAL:  # an offset before the file's start
                raise
            raise WeightsError("the .keras file is damaged: an offset leads out of it") from error


def _not_an_archive(file: Path) -> str:
    with file.open("rb") as opened:
        start = opened.read(8)
    if start == b"\x89HDF\r\n\x1a\n":
        return "this is an HDF5 file named .keras; save the model as .keras or with save_to_preset"
    if start.startswith(b"PK"):
        return "the .keras file was cut short or is damaged; copy it again"
    return "this is no .keras file, which is a zip archive"


def _checked_entries(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    listed = archive.infolist()
    if len(listed) > MOST_ENTRIES:
        raise WeightsError(f"the archive has {len(listed)} entries; at most {MOST_ENTRIES}")
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in listed:
        name = entry.filename
        _check_entry(entry)
        if name in entries:
            raise WeightsError(f"the archive has two entries {name!r}")
        if not entry.is_dir():
            entries[name] = entry
    for name in (CONFIG, WEIGHTS):
        if name not in entries:
            raise WeightsError(f"the archive has no {name}, so it is no .keras file of Keras 3")
    return entries


def _check_entry(entry: zipfile.ZipInfo) -> None:
    name = entry.orig_filename  # zipfile truncates a name at NUL and replaces backslashes
    shown = ascii(name[:120])
    parts = name.removesuffix("/").split("/")
    if not all(PART.fullmatch(part) for part in parts):
        raise WeightsError(f"the archive's entry {shown} leads out of it or is no plain name")
    if not (name in {CONFIG, METADATA, WEIGHTS} or parts[0] == ASSETS):
        raise WeightsError(f"the archive holds {shown}, which no .keras file has")
    mode = entry.external_attr >> 16
    if stat.S_IFMT(mode) not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise WeightsError(f"the archive's entry {shown} is a link or a device")
    if entry.flag_bits & ENCRYPTED:
        raise WeightsError(f"the archive's entry {shown} is encrypted")
    if entry.compress_type not in METHODS:
        raise WeightsError(f"the archive's entry {shown} is packed in a way that Keras never uses")
    largest = LARGEST_WEIGHTS if name == WEIGHTS else LARGEST_ASSET
    if name in {CONFIG, METADATA}:
        largest = LARGEST_TEXT
    if entry.file_size > largest:
        raise WeightsError(
            f"the archive's entry {shown} has {entry.file_size} bytes; at most {largest} are read"
        )
    if entry.file_size > max(UNCHECKED_RATIO, MOST_TIMES_SMALLER * entry.compress_size):
        raise WeightsError(
            f"the archive's entry {shown} would unpack {entry.compress_size} bytes to"
            f" {entry.file_size}"
        )


def _copy(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> None:
    """Unpack one entry, up to its declared size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    left = entry.file_size
    with archive.open(entry) as packed, path.open("xb") as unpacked:
        while chunk := packed.read(CHUNK):
            left -= len(chunk)
            if left < 0:
                raise WeightsError(f"the archive's entry {entry.filename!r} is larger than stated")
            unpacked.write(chunk)
