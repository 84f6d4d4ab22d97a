"""The metadata of a call: validated names and values, and the request id."""

import random
import re
from collections.abc import Mapping

Metadata = tuple[tuple[str, str | bytes], ...]
REQUEST_ID = "x-request-id"
_NAME = re.compile(r"[a-z0-9_.-]+")
_VALUE = re.compile(r"[\x20-\x7e]*")
_BINARY = "-bin"


def check_key(key: str | None) -> str:
    """Return an API key without white space around it, as in files; empty for none.

    Raises:
        TypeError: the key is not a string.
        ValueError: the key has a character that no key can have.
    """
    if key is None:
        return ""
    if not isinstance(key, str):
        raise TypeError(f"key must be a string, not {type(key).__name__}")
    stripped = key.strip()
    if key and not stripped:
        raise ValueError("key is blank")
    found = re.search(r"[^\x21-\x7e]", stripped)
    if found and stripped.lower().startswith("bearer "):
        raise ValueError("key begins with the word Bearer: pass what follows it")
    if found:
        raise ValueError(
            f"key has the character {found[0]!r} at {found.start()}: a key is printable ASCII"
            " without spaces"
        )
    return stripped


def check_metadata(metadata: Mapping[str, str | bytes] | None) -> Metadata:
    """Return metadata in gRPC's form.

    Raises:
        TypeError: it is not a mapping of strings to strings or bytes.
        ValueError: gRPC cannot send a name or a value; the message has the name.
    """
    if metadata is None:
        return ()
    if not isinstance(metadata, Mapping):
        raise TypeError(f"metadata must be a mapping, not a {type(metadata).__name__}")
    for name, value in metadata.items():
        _check_entry(name, value)
    return tuple(metadata.items())


def joined(first: Metadata, second: Metadata) -> Metadata:
    """Merge metadata; of the same name, the second value wins."""
    return tuple((dict(first) | dict(second)).items())


def with_request_id(metadata: Metadata) -> tuple[Metadata, str]:
    """Return metadata with a request id, and the id: the caller's, or a new one."""
    for name, value in metadata:
        if name == REQUEST_ID and isinstance(value, str):
            return metadata, value
    made = f"{random.getrandbits(64):016x}"
    return (*metadata, (REQUEST_ID, made)), made


def _check_entry(name: object, value: object) -> None:
    if not isinstance(name, str):
        raise TypeError(f"metadata has the name {name!r}, which must be a string")
    if not _NAME.fullmatch(name):
        hint = f": write {name.lower()!r}" if _NAME.fullmatch(name.lower()) else ""
        raise ValueError(
            f"metadata has the name {name!r}, which must be of lower-case ASCII letters, digits,"
            f" '-', '_' and '.'{hint}"
        )
    if name.startswith("grpc-"):
        raise ValueError(
            f"metadata has the name {name!r}: names that begin with grpc- are gRPC's own"
        )
    if not isinstance(value, str | bytes):
        raise TypeError(f"metadata {name!r} must be a string or bytes, not {type(value).__name__}")
    if name.endswith(_BINARY) and isinstance(value, str):
        raise ValueError(f"metadata {name!r} must be bytes, because its name ends in {_BINARY}")
    if not name.endswith(_BINARY) and isinstance(value, bytes):
        raise ValueError(
            f"metadata {name!r} must be a string: bytes need a name that ends in {_BINARY}"
        )
    if isinstance(value, str) and not _VALUE.fullmatch(value):
        raise ValueError(
            f"metadata {name!r} has a value that is not printable ASCII: send it as bytes under a"
            f" name that ends in {_BINARY}"
        )
