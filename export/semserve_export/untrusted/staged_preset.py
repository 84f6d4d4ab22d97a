"""Makes a checked copy of an untrusted KerasHub preset, which KerasHub then reads.

Configs are rewritten from the allow-list; weights and vocabularies are checked and linked. Other
files are not in the copy.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from semserve_export.errors import WeightsError
from semserve_export.untrusted.hdf5_file import check_hdf5
from semserve_export.untrusted.json_file import read_json
from semserve_export.untrusted.saved_assets import NAMES, check_asset
from semserve_export.untrusted.saved_limits import check_stored
from semserve_export.untrusted.saved_objects import checked_model

CONFIG = "config.json"
OBJECTS = (CONFIG, "task.json", "preprocessor.json", "tokenizer.json")
WEIGHTS = ("model.weights.h5", "task.weights.h5")
SHARDS = "model.weights.json"
SHARD = re.compile(r"[\w-]+\.weights\.h5")
ASSETS = "assets/tokenizer"
LARGEST_CONFIG = 4 << 20  # bytes
MOST_SHARDS = 200

Find = Callable[[str], Path | None]
"""Returns a file of the preset by its name; None if the preset does not have it."""


def find_in(directory: Path) -> Find:
    """Find files in a directory; links must not lead out of it.

    A Hugging Face cache keeps files as links to `blobs`, beside `snapshots`; those are followed.
    """
    root = directory.resolve()
    blobs = root.parent.parent / "blobs"

    def find(name: str) -> Path | None:
        path = root / name
        if not path.is_symlink() and not path.exists():
            return None
        real = path.resolve()
        inside = real.is_relative_to(root) or (
            root.parent.name == "snapshots" and real.parent == blobs
        )
        if not inside:
            raise WeightsError(f"{name} is a link that leads out of the directory")
        if not real.is_file():
            raise WeightsError(f"{name} is no file")
        return real

    return find


def check_objects(find: Find) -> None:
    """Check the preset's configs alone, in milliseconds.

    Raises:
        WeightsError: as `stage`.
    """
    for name in OBJECTS:
        if path := find(name):
            _checked(path, name)


def stage(find: Find, directory: Path) -> None:
    """Write the checked copy of a preset to an empty directory.

    Raises:
        WeightsError: a file contains an object that is not allowed.
    """
    checked = {name: _checked(path, name) for name in OBJECTS if (path := find(name))}
    for name, saved in checked.items():
        (directory / name).write_text(json.dumps(saved), encoding="utf-8")
    weights = [name for name in WEIGHTS if find(name)]
    if WEIGHTS[0] not in weights and (path := find(SHARDS)):
        shards = read_json(path, LARGEST_CONFIG)
        (directory / SHARDS).write_text(json.dumps(shards), encoding="utf-8")
        weights += _shards_of(shards)
    stored = 0
    for name in weights:
        if (path := find(name)) is None:
            raise WeightsError(f"{name} is missing")
        (directory / name).symlink_to(path)
        stored += check_hdf5(directory / name)
    for saved in checked.values() if weights else ():  # a preset of only a tokenizer has none
        check_stored(saved, stored)
    (directory / ASSETS).mkdir(parents=True)
    for name in sorted(NAMES):
        if path := find(f"{ASSETS}/{name}"):
            (directory / ASSETS / name).symlink_to(path)
            check_asset(directory / ASSETS / name)


def _checked(path: Path, name: str) -> dict[str, Any]:
    try:
        return checked_model(read_json(path, LARGEST_CONFIG))
    except WeightsError as error:
        raise WeightsError(f"{name} {error}") from error


def _shards_of(shards: dict[str, Any]) -> list[str]:
    places = shards.get("weight_map")
    listed = places.values() if isinstance(places, dict) else [None]
    names: set[Any] = {
        name for value in listed for name in (value if isinstance(value, list) else [value])
    }
    wrong = [name for name in names if not isinstance(name, str) or not SHARD.fullmatch(name)]
    if wrong or len(names) > MOST_SHARDS:
        raise WeightsError(f"{SHARDS} names {str(wrong[:1])[:80]}, which is no file of weights")
    return sorted(names)
