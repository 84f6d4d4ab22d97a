"""The schemas of a bundle's JSON files, and rules that the schemas cannot express.

`make schema` writes the schemas from the types of the server, so both accept the same files.
"""

import functools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.exceptions import best_match

from semserve_export.errors import BundleError, ExportError

SCHEMAS = Path(__file__).parents[1] / "schemas"
NAME_RULE = (
    "a name has 1 to 128 letters (A to Z), digits, dots, dashes and underscores, and begins with a"
    " letter or a digit"
)
SHOWN = 60  # characters of a wrong value in a message


def require_fields(fields: Mapping[str, Any], flags: Mapping[str, str]) -> None:
    """Check some fields of a manifest before the manifest is complete.

    Args:
        fields: values by their names in the manifest; None for unknown values.
        flags: the names of fields in messages, if they differ from the fields.

    Raises:
        ExportError: the server would refuse a field.
    """
    for name, value in fields.items():
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and not _is_unicode(text):
                raise ExportError(f"{flags.get(name, name)}: {text!a} is no text in Unicode")
        if value is not None and (error := best_match(_field(name).iter_errors(value))):
            place = "".join(f"[{part}]" for part in error.path)
            raise ExportError(f"{flags.get(name, name)}{place}: {_reason(error, name)}")


def require_manifest(manifest: Mapping[str, Any], where: str) -> None:
    """Check a whole manifest.

    Raises:
        BundleError: the server would refuse it.
    """
    _require("bundle.schema.json", manifest, where)
    files = manifest["files"]
    for name in {variant["file"] for variant in manifest["variants"].values()} - set(files):
        raise BundleError(f"{where}: files: does not list {name}, which a variant names")
    if files["tokenizer.json"]["sha256"] != manifest["tokenizer_sha256"]:
        raise BundleError(f"{where}: tokenizer_sha256: is not the digest that files lists")
    default = manifest.get("default_prompt")
    if default is not None and default not in manifest["prompts"]:
        raise BundleError(f"{where}: default_prompt: {default!r} is not a name in prompts")
    if manifest.get("padded_length") not in (None, manifest["max_sequence_length"]):
        raise BundleError(f"{where}: padded_length: must equal max_sequence_length")


def require_golden(golden: Mapping[str, Any], where: str) -> None:
    """Check the content of golden.json.

    Raises:
        BundleError: the server would refuse it.
    """
    _require("golden.schema.json", golden, where)


def max_json_bytes() -> int:
    """Return the most bytes of bundle.json, golden.json and tokenizer.json."""
    files = _schema("bundle.schema.json")["$defs"]["Manifest"]["allOf"][-1]["properties"]["files"]
    most: int = files["properties"]["tokenizer.json"]["properties"]["bytes"]["maximum"]
    return most


def _require(schema: str, content: Mapping[str, Any], where: str) -> None:
    if error := best_match(Draft202012Validator(_schema(schema)).iter_errors(content)):
        parts = list(error.absolute_path)
        place = "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in parts)
        field = str(parts[-1]) if parts else ""
        raise BundleError(f"{where}: {place.lstrip('.') or 'it'}: {_reason(error, field)}")


def _is_unicode(text: str) -> bool:
    """Return whether a text can be encoded as UTF-8; a text with undecodable bytes cannot."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _field(name: str) -> Draft202012Validator:
    """Return the validator of one field: its type, and unique labels."""
    manifest = _schema("bundle.schema.json")["$defs"]["Manifest"]
    rules = [manifest["properties"][name], *_rules_of_classifiers(manifest, name)]
    return Draft202012Validator({"allOf": rules})


def _rules_of_classifiers(manifest: Mapping[str, Any], name: str) -> Iterator[Any]:
    if name == "labels":
        yield manifest["allOf"][0]["then"]["properties"]["labels"]


@functools.cache
def _schema(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((SCHEMAS / name).read_text(encoding="utf-8"))
    return content


def _reason(error: ValidationError, field: str) -> str:
    """Describe an invalid value in one line."""
    value, bound = error.instance, error.validator_value
    shown = repr(value) if len(repr(value)) <= SHOWN else f"{repr(value)[:SHOWN]}…"
    if error.validator == "pattern" and field in {"model", "file"}:
        return f"{shown} is no name: {NAME_RULE}"
    if error.validator == "uniqueItems":
        twice = next(one for place, one in enumerate(value) if one in value[:place])
        return f"{twice!r} is there twice; each may be there once"
    reasons = {
        "minLength": "is empty",
        "maxLength": f"has {_size(value)} characters, at most {bound} are allowed",
        "minItems": f"has {_size(value)} entries, at least {bound} are needed",
        "maxItems": f"has {_size(value)} entries, at most {bound} are allowed",
        "minimum": f"is {shown}, at least {bound} is needed",
        "maximum": f"is {shown}, at most {bound} is allowed",
    }
    reason = error.message if len(error.message) <= 3 * SHOWN else f"{error.message[: 3 * SHOWN]}…"
    return reasons.get(str(error.validator), reason)


def _size(value: Any) -> int:
    return len(value) if hasattr(value, "__len__") else 0
