"""Digests of the weight files of a preset, from a directory or from a handle."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from keras_hub.src.utils import preset_utils

from semserve_export.files.digest import sha256_of


def preset_weight_files(handle: str, *, head: bool) -> list[Path]:
    """Return the files of a preset's weights, in the order of their names.

    Args:
        handle: a directory, or a KerasHub handle whose files are already in KerasHub's cache.
        head: whether to include a classifier's head, which KerasHub stores in a separate file.
    """
    one, index = preset_utils.MODEL_WEIGHTS_FILE, preset_utils.SHARDED_MODEL_WEIGHTS_CONFIG_FILE
    names = [one]
    if not preset_utils.check_file_exists(handle, one) and preset_utils.check_file_exists(
        handle, index
    ):
        shards = preset_utils.load_json(handle, index)["weight_map"].values()
        names = sorted({shard for each in shards for shard in _listed(each)})
    task = preset_utils.TASK_WEIGHTS_FILE
    if head and preset_utils.check_file_exists(handle, task):
        names.append(task)
    return [Path(preset_utils.get_file(handle, name)) for name in names]


def digest_of(files: Sequence[Path]) -> str:
    """Return the SHA-256 of one file; for several files, that of the lines `DIGEST NAME`."""
    if len(files) == 1:
        return sha256_of(files[0])
    lines = "".join(f"{sha256_of(file)} {file.name}\n" for file in files)
    return hashlib.sha256(lines.encode()).hexdigest()


def _listed(shards: str | list[str]) -> list[str]:
    """Return the shards of one variable; Keras lists several if it is split."""
    return [shards] if isinstance(shards, str) else shards
