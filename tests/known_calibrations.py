"""Measurements that the servers of the tests find in their cache, so that no start makes its own.

Beside other tests, the measurements of a start converge late or never: each of the first starts of
a bundle then spends one to four seconds of processor time on them.
"""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import tempfile
from pathlib import Path

from semserve_server import __version__
from semserve_server.registry.calibration_cache import CacheKey, CalibrationCache
from semserve_server.registry.measurements import Measurements
from semserve_server.registry.sessions import choose_variant
from semserve_server.repository.manifest import find_bundles, read_manifest
from semserve_server.runtime.session import VERSION
from semserve_server.system.cpus import cpu_model, usable_cpus

TINY = Path(__file__).parent / "bundles"
PROVIDER = "CPUExecutionProvider"
OTHER = 3
"""The threads of a run that is alone which a test asks for."""
RUNS = [
    (32, 0.000_158), (128, 0.000_242), (256, 0.000_325), (512, 0.000_507), (1024, 0.000_867),
    (2048, 0.001_344), (4096, 0.002_311), (8192, 0.004_718),
]  # fmt: skip
"""What tiny-embed takes of a CPU of an AMD EPYC: (tokens, seconds)."""


def keep_calibrations(directory: str, models: Path, *, times: float = 1.0) -> None:
    """Write the measurements of each bundle of `models`, for the numbers of threads in use.

    Args:
        directory: the value of `--calibration-cache`.
        models: a bundle, or a directory of bundles.
        times: how many times as long as those of `tiny-embed` their runs take.
    """
    cache = CalibrationCache(Path(directory))
    cpus = usable_cpus()
    for bundle in find_bundles(models):
        manifest, digest = read_manifest(bundle)
        for threads, exclusive in itertools.product({1, cpus}, {1, usable_cpus(2), cpus, OTHER}):
            key = CacheKey(
                digest=digest,
                variant=choose_variant(manifest, "auto"),
                provider=PROVIDER,
                cpu=cpu_model(),
                threads=threads,
                exclusive_threads=exclusive,
                onnxruntime=VERSION,
                server=__version__,
            )
            cache.store(key, _measured(times, exclusive=exclusive > threads))


def _measured(times: float, *, exclusive: bool) -> Measurements:
    lone = RUNS[0][1] * times
    return Measurements(
        runs=[(tokens, seconds * times) for tokens, seconds in RUNS],
        ragged=(120, 512, 0.000_549 * times),
        exclusive_seconds=lone if exclusive else None,
        shared_seconds=lone if exclusive else None,
        converged=True,
    )


def _shared_directory() -> str:
    """Return the directory of this run of the tests, which the first of its processes makes."""
    if "TEST_CALIBRATIONS" not in os.environ:
        parent = tempfile.mkdtemp(prefix="semserve-tests-")
        atexit.register(shutil.rmtree, parent, ignore_errors=True)
        directory = f"{parent}/semserve"
        keep_calibrations(directory, TINY)
        os.environ["TEST_CALIBRATIONS"] = directory
    return os.environ["TEST_CALIBRATIONS"]


CALIBRATIONS = _shared_directory()
"""What the servers of the tests keep of graphs and measurements, so that later starts are quick."""
XDG_CACHE_HOME = str(Path(CALIBRATIONS).parent)
"""Where a server without settings finds the same."""
