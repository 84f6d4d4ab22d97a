"""Reads untrusted JSON with limits of size, depth and number of values."""

import json
from collections import Counter
from pathlib import Path
from typing import Any, Never

from semserve_export.errors import WeightsError

LARGEST_JSON = 64 << 20  # bytes; the vocabulary.json of a large byte-level BPE has about 10 MB
MOST_VALUES = 8_000_000
DEEPEST_JSON = 64  # levels


def read_json(path: Path, largest: int = LARGEST_JSON) -> dict[str, Any]:
    """Read a JSON object from a file.

    Args:
        path: the file.
        largest: limit of its size in bytes.

    Raises:
        WeightsError: as `parse_json`, or the file is missing or too large.
    """
    try:
        size = path.stat().st_size
        if size > largest:
            raise WeightsError(f"{path.name} has {size} bytes; at most {largest} are read")
        return parse_json(path.read_bytes(), path.name)
    except OSError as error:
        raise WeightsError(f"{path.name} cannot be read: {error.strerror}") from error


def parse_json(data: bytes, name: str) -> dict[str, Any]:
    """Parse a JSON object.

    Args:
        data: UTF-8.
        name: its name in error messages.

    Raises:
        WeightsError: it is not a JSON object, has a duplicate key, NaN or Infinity, or exceeds a
            limit.
    """

    def not_finite(constant: str) -> Never:
        raise WeightsError(f"{name} holds {constant}, which is no number")

    try:
        parsed = json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique_keys, parse_constant=not_finite
        )
    except RecursionError as error:
        raise WeightsError(f"{name} is nested deeper than {DEEPEST_JSON} levels") from error
    except ValueError as error:
        raise WeightsError(f"{name} is no JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise WeightsError(f"{name} is no JSON object")
    _check_extent(parsed, name)
    return parsed


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = dict(pairs)
    if len(keys) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key {twice[:80]!r} is there twice")
    return keys


def _check_extent(parsed: Any, name: str) -> None:
    """Refuse too deep nesting or too many values, without recursion."""
    level, values, depth = [parsed], 0, 0
    while level:
        depth += 1
        values += len(level)
        if depth > DEEPEST_JSON:
            raise WeightsError(f"{name} is nested deeper than {DEEPEST_JSON} levels")
        if values > MOST_VALUES:
            raise WeightsError(f"{name} has more than {MOST_VALUES} values")
        level = [
            inner
            for value in level
            if isinstance(value, dict | list)
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
