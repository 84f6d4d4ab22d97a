"""Writes the JSON Schemas of a bundle from the server's types: the contract that the export keeps.

The types say what one field may be. `RULES` say how fields must agree, as the server's
`_check_consistency` does in code; a test holds the two to the same verdicts. Two rules are beyond
JSON Schema and are code on both sides: `files` lists every variant's file, and its digest of
tokenizer.json is `tokenizer_sha256`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec
from semserve_server.repository.manifest import MAX_JSON_BYTES, Golden, Manifest

NULL = {"type": "null"}
GIVEN = {"not": NULL}
NAMES = {"bundle.schema.json": Manifest, "golden.schema.json": Golden}

EMBEDDING = {
    "required": ["dimensions", "normalized", "metric", "pooling"],
    "properties": {
        "output": {"const": "embedding"},
        "pair": {"const": False},
        "pooling": {"type": "string", "minLength": 1},
        "dimensions": GIVEN,
        "normalized": GIVEN,
        "metric": GIVEN,
        "labels": NULL,
        "scores": NULL,
    },
}
CLASSIFICATION = {
    "required": ["labels"],
    "properties": {
        "output": {"const": "logits"},
        "labels": {"type": "array", "uniqueItems": True},
        "dimensions": NULL,
    },
}
SMALL_FILE = {"properties": {"bytes": {"maximum": MAX_JSON_BYTES}}}
RULES: list[dict[str, Any]] = [
    {
        "if": {"properties": {"task": {"const": "embedding"}}},
        "then": EMBEDDING,
        "else": CLASSIFICATION,
    },
    {
        "properties": {
            "inputs": {
                "uniqueItems": True,
                "allOf": [
                    {"contains": {"const": "token_ids"}},
                    {"contains": {"const": "padding_mask"}},
                ],
            },
            "variants": {"required": ["portable"]},
            "files": {
                "required": ["golden.json", "tokenizer.json"],
                "properties": {"golden.json": SMALL_FILE, "tokenizer.json": SMALL_FILE},
            },
        }
    },
]


def schemas() -> dict[str, str]:
    """Return the text of each schema by the name of its file."""
    return {name: _text(kind) for name, kind in NAMES.items()}


def _text(kind: type) -> str:
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": "Written by `make schema` from the server's types; not to be edited.",
        **msgspec.json.schema(kind),
    }
    for each in schema["$defs"].values():  # docstrings are for readers of the types
        each.pop("description", None)
    if kind is Manifest:
        schema["$defs"]["Manifest"]["allOf"] = RULES
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for file, text in schemas().items():
        (Path(sys.argv[1]) / file).write_text(text, encoding="utf-8")
