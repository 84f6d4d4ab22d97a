"""API keys: what a key looks like, and the lines of a key file. Pure.

A key is `NAME.SECRET`. The name is public: it finds the line, and logs may tell it. The file holds
the SHA-256 of the whole key, so that reading the file gives nobody a key. A secret is 256 random
bits, which no dictionary holds, so a plain digest is enough.

A key file has a line for each key, of four columns with blanks between, and a fifth where the key
may load and unload its models:

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
"""In the file: every model, or no bound on the rate."""
CONTROL = "control"
"""In the file: the key may load and unload models."""
SECRET_BYTES = 32
MAX_TOKENS_PER_SECOND = 1_000_000_000
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_NUMBER = re.compile(r"[0-9]{1,10}")
_NOBODY = bytes(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A line of the file: all that is known of a key."""

    name: str
    sha256: bytes
    models: frozenset[str] | None
    """Names of the models that it may use; None for all."""
    tokens_per_second: int | None
    """None for any rate."""
    control: bool = False
    """Whether it may load and unload its models, where the server lets anybody do that."""

    def __post_init__(self) -> None:
        """Refuse what could not stand in a line.

        Raises:
            ValueError: a name or the rate.
        """
        if not _NAME.fullmatch(self.name):
            raise ValueError("the name is not of 1 to 64 letters, digits, _ and -")
        if self.models is not None and not all(map(_MODEL.fullmatch, self.models)):
            raise ValueError(f"the models are neither {ANY} nor names with commas between")
        rate = self.tokens_per_second
        if rate is not None and not 1 <= rate <= MAX_TOKENS_PER_SECOND:
            raise ValueError(f"the tokens a second are not from 1 to {MAX_TOKENS_PER_SECOND}")

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
    """Make a key, and what the file is to hold of it.

    Raises:
        ValueError: a name or the rate cannot stand in a line.
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
    """Return the key that was presented, if it is one.

    The time that it takes tells nothing of any secret, nor whether the name is one: the name is
    looked up, and a digest of the whole is compared in constant time, with nobody's if need be.
    """
    known = keys.get(presented.partition(".")[0])
    expected = _NOBODY if known is None else known.sha256
    return known if hmac.compare_digest(_sha256(presented), expected) else None


def parse(text: str) -> dict[str, Key]:
    """Read a key file; by name.

    Raises:
        ValueError: a line is wrong. The message tells which and why, and nothing of its content.
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
            raise ValueError(f"line {number}: the name of an earlier line again")
        keys[key.name] = key
    return keys


def parse_line(line: str) -> Key:
    """Read one line.

    Raises:
        ValueError: it is wrong.
    """
    try:
        name, digest, models, rate, *rights = line.split()
    except ValueError:
        raise ValueError("has not four columns: name, sha256, models, tokens a second") from None
    if rights not in ([], [CONTROL]):
        raise ValueError(f"the fifth column is not the last, or not {CONTROL}")
    if not _DIGEST.fullmatch(digest):
        raise ValueError("the sha256 is not of 64 digits 0 to f in lower case")
    if rate != ANY and not _NUMBER.fullmatch(rate):
        raise ValueError(f"the tokens a second are neither {ANY} nor a whole number")
    return Key(
        name=name,
        sha256=bytes.fromhex(digest),
        models=None if models == ANY else frozenset(models.split(",")),
        tokens_per_second=None if rate == ANY else int(rate),
        control=bool(rights),
    )


def _sha256(presented: str) -> bytes:
    return hashlib.sha256(presented.encode(errors="surrogatepass")).digest()
