"""The journal of an output file: what it was made of, and how much of it is complete.

An output `vectors.npy` is written as `vectors.npy.partial`, beside `vectors.npy.journal`:

1. rows are appended to the partial file, and the file is flushed to the disk;
2. the journal, with the number of rows and bytes, replaces the older journal;
3. at the end the partial file gets its own name, and the journal is deleted.

A run that is killed between two of these steps leaves rows that the journal does not count. The
next run cuts them off and computes them again, so no row is lost or doubled.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from semserve.bulk.errors import FileError


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """The state of an unfinished output.

    Attributes:
        settings: what the rows depend on: model, options, columns.
        inputs: SHA-256 of every input file, by its name.
        rows: complete rows.
        size: bytes of the partial file that hold them.
        failed: how many of the rows have an error in the place of a result.
        tokens: tokens of the rows.
    """

    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    rows: int = 0
    size: int = 0
    failed: int = 0
    tokens: int = 0

    def write(self, path: Path) -> None:
        """Replace the journal on the disk at once."""
        new = path.with_name(f"{path.name}.new")
        with new.open("w", encoding="utf-8") as file:
            json.dump(asdict(self), file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)

    def check(self, wanted: "Journal", output: Path) -> None:
        """Refuse to continue with other inputs or settings.

        Raises:
            FileError: it names what differs.
        """
        advice = f"pass --overwrite to replace {output}"
        for name, digest in wanted.inputs.items():
            if name in self.inputs and digest != self.inputs[name]:
                raise FileError(f"{name} has changed since {output} was begun: {advice}")
        if [*self.inputs] != [*wanted.inputs]:
            raise FileError(f"{output} was begun from {', '.join(self.inputs)}: {advice}")
        for name, value in wanted.settings.items():
            if self.settings.get(name) != value:
                before = self.settings.get(name)
                raise FileError(
                    f"{output} was begun with {name} {before}, and it is {value} now: {advice}"
                )


def read_journal(path: Path) -> Journal | None:
    """Read a journal; None if there is none.

    Raises:
        FileError: it is not a journal.
    """
    try:
        return Journal(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        raise FileError(f"{path} is not a journal: delete it, or pass --overwrite") from None


def digest(file: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
