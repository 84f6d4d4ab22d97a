"""Envoy, started with the configuration that users get; the test's addresses alone are put in."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from conftest import ROOT
from load.process import POLL_SECONDS, running

CONFIGURATION = ROOT / "server" / "deploy" / "envoy" / "replicas.yaml"
ENVOY = shutil.which(ROOT / ".tools" / "envoy" / "bin" / "envoy")
PATIENCE = 60.0
"""Seconds after which something that Envoy should notice counts as not noticed."""


@dataclass(frozen=True, slots=True)
class Host:
    """A replica, as Envoy sees it."""

    healthy: bool
    requests: int
    """Calls that were sent to it since Envoy started, those sent again included."""


@dataclass(frozen=True, slots=True)
class Envoy:
    """An Envoy that listens."""

    address: str
    admin: str

    def hosts(self) -> dict[int, Host]:
        """Return the replicas by their ports."""
        (cluster,) = self._get("/clusters?format=json")["cluster_statuses"]
        return {
            one["address"]["socket_address"]["port_value"]: _host(one)
            for one in cluster["host_statuses"]
        }

    def wait_for(self, found: Callable[[dict[int, Host]], object], what: str) -> None:
        """Wait until Envoy sees the replicas so; asking again and again."""
        end = time.monotonic() + PATIENCE
        while not found(hosts := self.hosts()):
            assert time.monotonic() < end, f"not {what}: {hosts}"
            time.sleep(POLL_SECONDS)

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://{self.admin}{path}", timeout=10) as reply:
            return json.load(reply)


def _host(status: dict[str, Any]) -> Host:
    health = status["health_status"]
    failing = {"failed_active_health_check", "failed_outlier_check", "pending_active_hc"}
    numbers = {one["name"]: int(one.get("value", 0)) for one in status["stats"]}
    return Host(healthy=not failing & health.keys(), requests=numbers["rq_total"])


def configuration(ports: Sequence[int]) -> dict[str, Any]:
    """Return the configuration with these replicas, and free ports of the loopback to listen on."""
    content: dict[str, Any] = yaml.safe_load(CONFIGURATION.read_text())
    (listener,) = content["static_resources"]["listeners"]
    (cluster,) = content["static_resources"]["clusters"]
    for listening in (listener, content["admin"]):
        listening["address"] = _address(0)
    endpoints = [{"endpoint": {"address": _address(port)}} for port in ports]
    cluster["load_assignment"]["endpoints"] = [{"lb_endpoints": endpoints}]
    return content


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


@contextlib.contextmanager
def envoy(ports: Sequence[int], directory: Path) -> Iterator[Envoy]:
    """Run Envoy in front of the replicas, in one thread, and wait until it listens.

    Args:
        ports: of replicas on the loopback, whether they run or not.
        directory: for its files.
    """
    assert ENVOY
    file, admin = directory / "envoy.json", directory / "admin"
    file.write_text(json.dumps(configuration(ports)))
    arguments = ("--config-path", file, "--admin-address-path", admin, "--concurrency", "1")
    command = [ENVOY, *arguments, "--disable-hot-restart", "--log-level", "info"]
    with running("envoy", command) as process:
        process.wait_for(lambda said: "starting main dispatch loop" in said, "main loop")
        started = Envoy("", admin.read_text())
        process.wait_for(lambda said: "all clusters initialized" in said, "listener")
        listeners = started._get("/listeners?format=json")["listener_statuses"]
        port = listeners[0]["local_address"]["socket_address"]["port_value"]
        yield Envoy(f"127.0.0.1:{port}", started.admin)
