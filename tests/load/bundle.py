"""What the harness reads of a bundle: sizes for its checks, and which graph a variant means."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle's directory and the few of its facts that loads need."""

    directory: Path
    name: str
    dimensions: int
    """Numbers a text or pair: of a vector, or logits."""
    output: str
    inputs: tuple[str, ...]
    max_tokens: int
    variants: dict[str, Path] = field(hash=False)

    @property
    def tokenizer(self) -> Path:
        """The tokenizer's definition."""
        return self.directory / "tokenizer.json"


def read_bundle(directory: Path) -> Bundle:
    """Read `bundle.json`.

    Raises:
        FileNotFoundError: it is not there.
    """
    manifest = json.loads((directory / "bundle.json").read_text())
    return Bundle(
        directory=directory,
        name=manifest["model"],
        dimensions=manifest["dimensions"] or len(manifest["labels"]),
        output=manifest["output"],
        inputs=tuple(manifest["inputs"]),
        max_tokens=manifest["max_sequence_length"],
        variants={name: directory / one["file"] for name, one in manifest["variants"].items()},
    )
