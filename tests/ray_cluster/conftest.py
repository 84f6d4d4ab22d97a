"""Local Ray clusters, and what a job needs, for tests in the environment of `make test-ray`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster

OBJECT_STORE_BYTES = 80 << 20
# Read when Ray is imported: nothing is reported, and raylets listen on 127.0.0.1 alone.
os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


@pytest.fixture(scope="session", autouse=True)
def calibrations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all processes of the tests keep the measurements of bundles."""
    cache = tmp_path_factory.mktemp("calibrations")
    os.environ["XDG_CACHE_HOME"] = str(cache)  # which the raylets, and their workers, inherit
    return cache


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A cluster of two raylets with one CPU each; the first one is the head."""
    from ray.cluster_utils import Cluster  # noqa: PLC0415 - where Ray is not, its tests are skipped

    node = {
        "num_cpus": 1, "object_store_memory": OBJECT_STORE_BYTES,
        "node_ip_address": "127.0.0.1", "include_dashboard": False,
    }  # fmt: skip
    cluster = Cluster(initialize_head=True, head_node_args=node)
    try:
        cluster.add_node(**node)
        yield cluster
    finally:
        cluster.shutdown()
