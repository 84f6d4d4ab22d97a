"""The Helm chart renders, with each file of values, to what Kubernetes and the server accept."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from conftest import ROOT
from semserve_server.__main__ import app
from semserve_server.config import Config

CHART = ROOT / "server" / "deploy" / "helm" / "semserve"
VALUES = ("", *sorted(path.name for path in (CHART / "values").iterdir()))
OLDEST, NEWEST = "1.27", "1.37"
OTHERS = {"ServiceMonitor", "ScaledObject"}
"""Kinds of the Prometheus Operator and of KEDA, whose schemas Kubernetes does not have."""
HELM = shutil.which("helm") or shutil.which(ROOT / ".tools" / "go" / "bin" / "helm")

pytestmark = pytest.mark.skipif(HELM is None, reason="helm is not installed: run `make helm`")


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run helm on the chart."""
    assert HELM
    return subprocess.run(
        [HELM, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@cache
def rendered(values: str, version: str = NEWEST) -> tuple[dict[str, Any], ...]:
    """Render the chart to its documents."""
    files = ("--values", str(CHART / "values" / values)) if values else ()
    done = helm("template", "demo", str(CHART), "--kube-version", f"{version}.0", *files)
    assert 0 == done.returncode, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def of_kind(kind: str, values: str) -> list[dict[str, Any]]:
    return [one for one in rendered(values) if one["kind"] == kind]


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("values", VALUES)
def test_kubernetes_accepts_every_document(values: str, version: str) -> None:
    documents = rendered(values, version)
    assert {"Deployment", "Service"} <= {one["kind"] for one in documents}
    for document in documents:
        if document["kind"] not in OTHERS:
            kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("values", VALUES)
def test_the_server_accepts_the_arguments(values: str) -> None:
    """What the Deployment passes is parsed by the server's own command line."""
    (deployment,) = of_kind("Deployment", values)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    _, bound, _ = app.parse_args(container["args"], exit_on_error=False, print_error=False)
    (config,) = (one for one in bound.arguments.values() if isinstance(one, Config))
    assert Path("/models") == config.models
    assert ("cuda" if "cuda" in values else "cpu") == config.device
    pod = deployment["spec"]["template"]["spec"]
    before_term = float(container["lifecycle"]["preStop"]["exec"]["command"][1])
    end = config.drain_delay + config.drain_timeout + 5
    assert pod["terminationGracePeriodSeconds"] >= before_term + end


@pytest.mark.parametrize("values", VALUES)
def test_no_container_runs_as_root_or_writes_to_its_root(values: str) -> None:
    (deployment,) = of_kind("Deployment", values)
    pod = deployment["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    for container in [*pod["containers"], *pod.get("initContainers", [])]:
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert not container["securityContext"]["allowPrivilegeEscalation"]
        assert ["ALL"] == container["securityContext"]["capabilities"]["drop"]


def test_a_gpu_is_asked_for_with_cuda_alone() -> None:
    limits = {}
    for values in ("", "cuda.yaml"):
        (deployment,) = of_kind("Deployment", values)
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        limits[values] = container["resources"]["limits"].get("nvidia.com/gpu")
    assert {"": None, "cuda.yaml": 1} == limits


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("drain.graceSeconds=10", "drain.graceSeconds: is 10; preStopSeconds"),
        ("replica=3", "'replica' not allowed"),
        ("device=tpu", "/device"),
        ("autoscaling.type=vpa", "/autoscaling/type"),
        ("image.digest=latest", "/image/digest"),
        ("models.source=init", "models.init.image"),
        (
            "extraArgs={--drain-timeout=60}",
            "extraArgs: --drain-timeout is set by drain.timeoutSeconds",
        ),
        ("env[0].name=SEMSERVE_DEVICE,env[0].value=cpu", "env: SEMSERVE_DEVICE is set by device"),
    ],
)
def test_a_value_that_cannot_be_honoured_is_refused_by_name(setting: str, message: str) -> None:
    done = helm("template", "demo", str(CHART), "--kube-version", "1.33.0", "--set", setting)
    assert 0 != done.returncode
    assert message in done.stderr


def test_the_chart_refuses_each_flag_of_its_own_from_elsewhere() -> None:
    """The server takes a flag once, and a variable beside a flag would have no effect."""
    passed = {
        argument.partition("=")[0]
        for values in VALUES
        for deployment in of_kind("Deployment", values)
        for argument in deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    }
    helpers = (CHART / "templates" / "_helpers.tpl").read_text()
    assert passed == set(re.findall(r"^(--[a-z-]+): ", helpers, re.MULTILINE))


def test_the_chart_passes_helm_lint() -> None:
    done = helm("lint", str(CHART), "--strict")
    assert 0 == done.returncode, done.stdout + done.stderr
