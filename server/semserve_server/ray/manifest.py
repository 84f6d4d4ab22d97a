"""The manifest of a job, `_job.json` in its output: what the rows depend on.

A run continues an output only if its manifest is the same. Readers of Parquet directories skip the
file, because its name begins with `_`.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import msgspec

from semserve_server.errors import JobRefused

NAME = "_job.json"
FORMAT = 1
ADVICE = "name another output, or pass --overwrite to replace this one"


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """One input file."""

    name: str
    sha256: str
    rows: int


class JobManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What the rows of an output depend on, and whether the output is complete."""

    format: int = FORMAT
    task: str
    model: str
    model_digest: str
    """SHA-256 of the bundle's manifest."""
    columns: tuple[str, ...]
    keep: tuple[str, ...]
    options: dict[str, Any]
    shard_rows: int
    inputs: tuple[Input, ...]
    complete: bool = False

    @property
    def key(self) -> str:
        """SHA-256 of everything but `complete`, in hexadecimal. Each output file carries it."""
        unfinished = msgspec.structs.replace(self, complete=False)
        return hashlib.sha256(msgspec.json.encode(unfinished, order="sorted")).hexdigest()

    def write(self, output: Path) -> None:
        """Replace the manifest of an output at once."""
        new = output / f"{NAME}.new"
        with new.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(self)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(output / NAME)

    def refuse_other(self, wanted: JobManifest, output: Path) -> None:
        """Refuse to continue the output with another input, model or option.

        Raises:
            JobRefused: names what differs.
        """
        before = {one.name: one for one in self.inputs}
        for one in wanted.inputs:
            if one.name in before and before[one.name].sha256 != one.sha256:
                raise JobRefused(f"{one.name} has changed since {output} was begun: {ADVICE}")
        now = {one.name for one in wanted.inputs}
        for name in sorted(now ^ {*before}):
            verb = "was added" if name in now else "is missing"
            raise JobRefused(f"{name} {verb} since {output} was begun: {ADVICE}")
        for name in ("format", "task", "model", "columns", "keep", "options", "shard_rows"):
            old, new = getattr(self, name), getattr(wanted, name)
            if old != new:
                shown = f"{output} was begun with {name} {_shown(old)}, and it is {_shown(new)} now"
                raise JobRefused(f"{shown}: {ADVICE}")
        if self.model_digest != wanted.model_digest:
            raise JobRefused(f"model {self.model} has changed since {output} was begun: {ADVICE}")


def read_job(output: Path) -> JobManifest | None:
    """Return the manifest of an output; None if there is none.

    Raises:
        JobRefused: the file is not a manifest.
    """
    try:
        content = (output / NAME).read_bytes()
    except FileNotFoundError:
        return None
    try:
        return msgspec.json.decode(content, type=JobManifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise JobRefused(f"{output / NAME}: {error}: {ADVICE}") from None


def _shown(value: object) -> str:
    return msgspec.json.encode(value).decode()
