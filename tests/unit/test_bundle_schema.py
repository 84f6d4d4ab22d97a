"""The schema that the export keeps says what the server's types and rules say."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from manifests import BAD, GOOD, Change, manifest
from semserve_server.errors import BundleError
from semserve_server.repository.manifest import read_manifest

BEYOND_A_SCHEMA = {
    "a variant's file that is not listed",
    "another tokenizer's digest",
    "a default prompt that is not there",
    "a padded length that is not the longest",
}


def test_the_kept_schemas_are_the_ones_of_the_servers_types(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(root / "proto")])
    import bundle_schema  # noqa: PLC0415 - a script beside the schema, in no package

    kept = root / "export" / "semserve_export" / "schemas"
    for name, text in bundle_schema.schemas().items():
        assert text == (kept / name).read_text(encoding="utf-8"), "run `make schema`"


@pytest.mark.parametrize(("bundle", "change"), GOOD.values(), ids=GOOD)
def test_the_server_takes_what_the_schema_takes(
    bundle: str, change: Change, root: Path, tmp_path: Path
) -> None:
    content = manifest(bundle, change)
    if "tokenizer.json" in content["files"]:
        content["tokenizer_sha256"] = content["files"]["tokenizer.json"]["sha256"]
    (tmp_path / "bundle.json").write_text(json.dumps(content))
    assert content["model"] == read_manifest(tmp_path)[0].model
    schema(root).validate(content)


@pytest.mark.parametrize("name", BAD)
def test_the_server_refuses_what_the_schema_refuses(name: str, root: Path, tmp_path: Path) -> None:
    content = manifest(*BAD[name])
    (tmp_path / "bundle.json").write_text(json.dumps(content))
    with pytest.raises(BundleError, match=r"bundle\.json"):
        read_manifest(tmp_path)
    assert (name in BEYOND_A_SCHEMA) == schema(root).is_valid(content)


def schema(root: Path) -> Draft202012Validator:
    file = root / "export" / "semserve_export" / "schemas" / "bundle.schema.json"
    return Draft202012Validator(json.loads(file.read_text(encoding="utf-8")))
