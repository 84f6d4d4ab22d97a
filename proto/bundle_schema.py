"""Writes the JSON Schemas of a bundle from the server's types: the contract that the export keeps.

The types say what one field may be. `RULES` say how fields must agree, as the server's
`repository/consistency.py` does in code; a test holds the two to the same verdicts. Four rules are
beyond JSON Schema and are code on both sides: `files` lists every variant's file, its digest of
tokenizer.json is `tokenizer_sha256`, `default_prompt` is a name in `prompts`, and `padded_length`
equals `max_sequence_length`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec
from semserve_server.repository.golden_answers import Golden
from semserve_server.repository.manifest import MAX_JSON_BYTES, Manifest

NULL = {"type": "null"}
GIVEN = {"not": NULL}
NAMES = {"bundle.schema.json": Manifest, "golden.schema.json": Golden}

SINGLE_TEXTS = {"pair": {"const": False}, "labels": NULL, "scores": NULL}
EMBEDDING = {
    "required": ["dimensions", "normalized", "metric", "pooling"],
    "properties": {
        **SINGLE_TEXTS,
        "output": {"const": "embedding"},
        "pooling": {"type": "string", "minLength": 1},
        "dimensions": GIVEN,
        "normalized": GIVEN,
        "metric": GIVEN,
    },
}
CLASSIFICATION = {
    "required": ["labels"],
    "properties": {
        "output": {"const": "logits"},
        "labels": {"type": "array", "uniqueItems": True},
        "dimensions": NULL,
        "prompts": NULL,
        "sides": NULL,
    },
}
SCORE = {
    "required": ["scores"],
    "properties": {
        "output": {"const": "logits"},
        "scores": {"enum": ["sigmoid", "none"]},
        "labels": NULL,
        "dimensions": NULL,
        "prompts": NULL,
        "sides": NULL,
    },
}
SPARSE_EMBEDDING = {
    "required": ["dimensions"],
    "properties": {
        **SINGLE_TEXTS,
        "output": {"const": "weights"},
        "dimensions": GIVEN,
        "normalized": NULL,
        "metric": NULL,
        "sides": NULL,
    },
}
TASKS = {
    "classification": CLASSIFICATION,
    "embedding": EMBEDDING,
    "score": SCORE,
    "sparse_embedding": SPARSE_EMBEDDING,
}


def _has(*inputs: str) -> dict[str, Any]:
    """Return the rule that the graph has these inputs."""
    return {"properties": {"inputs": {"allOf": [{"contains": {"const": each}} for each in inputs]}}}


def _given(*fields: str) -> dict[str, Any]:
    """Return the rule that these fields are there and not null."""
    return {"required": [*fields], "properties": dict.fromkeys(fields, GIVEN)}


def _lacks(*inputs: str) -> dict[str, Any]:
    """Return the rule that the graph has none of these inputs."""
    return {"properties": {"inputs": {"not": {"contains": {"enum": [*inputs]}}}}}


SEPARATE = {"required": ["pair_inputs"], "properties": {"pair_inputs": {"const": "separate"}}}
PAIR_FIELDS = ("text_order", "pair_inputs", "pair_truncation")
PAIR = {"properties": {"pair": {"const": True}}}
SMALL_FILE = {"properties": {"bytes": {"maximum": MAX_JSON_BYTES}}}
RULES: list[dict[str, Any]] = [
    *(
        {"if": {"properties": {"task": {"const": task}}}, "then": rules}
        for task, rules in TASKS.items()
    ),
    {"properties": {"text_order": {"uniqueItems": True}}},
    {"if": {"anyOf": [_given(each) for each in PAIR_FIELDS]}, "then": PAIR},
    {"properties": {"sides": {"enum": [["left", "right"], None]}}},
    {"if": _given("sides"), "then": _has("side"), "else": _lacks("side")},
    {"if": _given("default_prompt"), "then": _given("prompts")},
    {"if": _given("padding"), "then": _given("padded_length")},
    {"if": _lacks("padding_mask"), "then": _given("padded_length")},
    {
        "if": SEPARATE,
        "then": {"allOf": [_has("token_ids_right"), _lacks("segment_ids")]},
        "else": _lacks("token_ids_right"),
    },
    {
        "if": {"allOf": [SEPARATE, _has("padding_mask")]},
        "then": _has("padding_mask_right"),
        "else": _lacks("padding_mask_right"),
    },
    {
        "properties": {
            "inputs": {"uniqueItems": True, "contains": {"const": "token_ids"}},
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
