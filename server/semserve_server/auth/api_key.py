"""API keys: the format of a key, and the lines of a key file. Pure.

A key is `NAME.SECRET`. The name is public: it selects the line of the file, and logs may contain
it. The file contains the SHA-256 of the whole key, so a reader of the file cannot use any key. A
secret has 256 random bits, which no dictionary contains, so a plain digest is enough.

The file has one line for each key, with four columns separated by blanks. A fifth column is present
if the key may load and unload its models:

    # name   sha256 of the key   models             tokens a second
    alice    9f86d081884c7d65…   *                  *                control
    nightly  2c26b46b68ffc68f…   minilm-l6-v2,nli   20000
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

ANY = "*"
"""In the file: every model, or an unlimited rate."""
CONTROL = "control"
"""In the file: the key may load and unload models."""
SECRET_BYTES = 32
MAX_TOKENS_PER_SECOND = 1_000_000_000
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_NUMBER = re.compile(r"[0-9]{1,10}")
_NO_DIGEST = bytes(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One line of the file: everything that the server knows of a key."""

    name: str
    sha256: bytes
    models: frozenset[str] | None
    """Names of the models that the key may use; None for all."""
    tokens_per_second: int | None
    """Rate limit; None for no limit."""
    control: bool = False
    """Whether the key may load and unload its models, if the server allows model control."""

    def __post_init__(self) -> None:
        """Refuse values that cannot be written to a line.

        Raises:
            ValueError: a name or the rate is invalid.
        """
        if not _NAME.fullmatch(self.name):
            raise ValueError("the name must have 1 to 64 letters, digits, _ or -")
        if self.models is not None and not all(map(_MODEL.fullmatch, self.models)):
            raise ValueError(f"the models must be {ANY} or names separated by commas")
        rate = self.tokens_per_second
        if rate is not None and not 1 <= rate <= MAX_TOKENS_PER_SECOND:
            raise ValueError(f"the tokens per second must be from 1 to {MAX_TOKENS_PER_SECOND}")

    def __str__(self) -> str:
        models = ANY if self.models is None else ",".join(sorted(self.models))
        columns = (self.name, self.sha256.hex(), models, str(self.tokens_per_second or ANY))
        return " ".join((*columns, CONTROL) if self.control else columns)


def new_key(
    name: str,
    *,
    models: frozenset[str] | None = None,
    tokens_per_second: int | None = None,
    control: bool = False,
) -> tuple[str, Key]:
    """Create a key, and the line of the key file for it.

    Raises:
        ValueError: a name or the rate cannot be written to a line.
    """
    presented = f"{name}.{secrets.token_urlsafe(SECRET_BYTES)}"
    return presented, Key(
        name=name,
        sha256=_sha256(presented),
        models=models,
        tokens_per_second=tokens_per_second,
        control=control,
    )


def find(keys: dict[str, Key], presented: str) -> Key | None:
    """Return the entry of the key that a caller presents, or None.

    The time of this function reveals nothing of a secret, nor whether a name exists: it looks up
    the name and compares a digest of the whole key in constant time, with a dummy digest if the
    name does not exist.
    """
    known = keys.get(presented.partition(".")[0])
    expected = _NO_DIGEST if known is None else known.sha256
    return known if hmac.compare_digest(_sha256(presented), expected) else None


def parse(text: str) -> dict[str, Key]:
    """Read a key file. Returns the keys by name.

    Raises:
        ValueError: a line is invalid. The message has the line's number and the reason, and nothing
            of its content.
    """
    keys: dict[str, Key] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            key = parse_line(line)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        if key.name in keys:
            raise ValueError(f"line {number}: an earlier line has the same name")
        keys[key.name] = key
    return keys


def parse_line(line: str) -> Key:
    """Read one line.

    Raises:
        ValueError: the line is invalid.
    """
    try:
        name, digest, models, rate, *rights = line.split()
    except ValueError:
        raise ValueError("must have four columns: name, sha256, models, rate") from None
    if rights not in ([], [CONTROL]):
        raise ValueError(f"the fifth column must be {CONTROL}, and the last one")
    if not _DIGEST.fullmatch(digest):
        raise ValueError("the sha256 must have 64 hexadecimal digits in lower case")
    if rate != ANY and not _NUMBER.fullmatch(rate):
        raise ValueError(f"the tokens per second must be {ANY} or a whole number")
    return Key(
        name=name,
        sha256=bytes.fromhex(digest),
        models=None if models == ANY else frozenset(models.split(",")),
        tokens_per_second=None if rate == ANY else int(rate),
        control=bool(rights),
    )


def _sha256(presented: str) -> bytes:
    return hashlib.sha256(presented.encode(errors="surrogatepass")).digest()
