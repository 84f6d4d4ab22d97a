"""The manifests of KServe hold to its schemas, and the server parses their arguments."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from conftest import ROOT
from semserve_server.__main__ import app
from semserve_server.config import Config

MANIFESTS = ROOT / "server" / "deploy" / "kserve"
CRDS = os.environ.get("KSERVE_CRDS", "")
"""The directory config/crd/full of the Go module github.com/kserve/kserve, where it is there."""
PLURALS = {"ServingRuntime": "servingruntimes", "InferenceService": "inferenceservices"}


def manifest(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((MANIFESTS / f"{name}.yaml").read_text())
    return document


def closed(schema: Any) -> Any:
    """Return the schema with every object that lists its fields closed to others, as the API is."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {name: closed(one) for name, one in schema.items()}
    if isinstance(strict.get("properties"), dict) and "x-kubernetes-int-or-string" not in strict:
        strict.setdefault("additionalProperties", False)
    return strict


@pytest.mark.skipif(not CRDS, reason="KSERVE_CRDS is not set: run `make test-kserve`")
@pytest.mark.parametrize("name", ["serving-runtime", "inference-service"])
def test_the_schemas_of_kserve_accept_each_manifest_and_refuse_an_unknown_field(name: str) -> None:
    document = manifest(name)
    file = Path(CRDS) / f"serving.kserve.io_{PLURALS[document['kind']]}.yaml"
    (version,) = yaml.safe_load(file.read_text())["spec"]["versions"]
    assert document["apiVersion"] == f"serving.kserve.io/{version['name']}"
    schema = closed(version["schema"]["openAPIV3Schema"]["properties"]["spec"])
    jsonschema.validate(document["spec"], schema)
    wrong = copy.deepcopy(document["spec"]) | {"modelFormats": []}
    with pytest.raises(jsonschema.ValidationError, match="modelFormats"):
        jsonschema.validate(wrong, schema)


def test_kubernetes_accepts_the_container_of_the_runtime() -> None:
    spec = manifest("serving-runtime")["spec"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "semserve"},
        "spec": {"containers": spec["containers"], "volumes": spec["volumes"]},
    }
    kubernetes_validate.validate(pod, "1.37", strict=True)


def test_the_server_accepts_the_arguments_and_serves_the_protocol_of_the_manifests() -> None:
    runtime, service = manifest("serving-runtime"), manifest("inference-service")
    (container,) = runtime["spec"]["containers"]
    _, bound, _ = app.parse_args(container["args"], exit_on_error=False, print_error=False)
    (config,) = (one for one in bound.arguments.values() if isinstance(one, Config))
    assert Path("/mnt/models") == config.models
    assert config.open_inference
    assert f"[::]:{container['ports'][0]['containerPort']}" == config.address
    predictor = service["spec"]["predictor"]
    end = config.drain_delay + config.drain_timeout + 5
    assert predictor["terminationGracePeriodSeconds"] >= end
    assert predictor["model"]["runtime"] == runtime["metadata"]["name"]
    assert predictor["model"]["protocolVersion"] in runtime["spec"]["protocolVersions"]
    formats = {(one["name"], one["version"]) for one in runtime["spec"]["supportedModelFormats"]}
    format_ = predictor["model"]["modelFormat"]
    assert (format_["name"], format_["version"]) in formats
