"""Where a model's calibration comes from: the cache, the version before, or a new measurement."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from semserve_server.registry.calibration import Calibration
from semserve_server.registry.calibration_cache import CacheKey, CalibrationCache
from semserve_server.registry.measurements import Measurements

log = logging.getLogger(__name__)

FROM_CACHE = "from the calibration cache"
FROM_FORMER_VERSION = "from the version before"
MEASURED = "measured"
MEASURED_UNDER_LOAD = "measured under load"

SIZE_TOLERANCE = 0.01
"""Graphs whose sizes differ by at most this share have the same cost: another training of the
same model has the same graph and other weights."""
MAX_REMEMBERED = 256
"""Most models whose measurements stay in memory; the oldest are dropped."""


class CalibrationSource:
    """Finds calibrations. Used by one thread at a time.

    A model that replaces another version under load would be measured beside busy workers, and the
    server would use these distorted measurements until it stops. So the new version takes over the
    measurements of the version before, if both have the same graph.
    """

    def __init__(
        self, cache: CalibrationCache | None = None, runs: Callable[[], int] = lambda: 0
    ) -> None:
        """Create a source.

        Args:
            cache: the cache on disk; None for none.
            runs: returns how many runs have started in this process. If the number grows during a
                measurement, the measurement was disturbed by load.
        """
        self._cache = cache
        self._runs = runs
        self._former: dict[str, _Version] = {}

    def find(
        self, name: str, key: CacheKey, graph_bytes: int, measure: Callable[[], Measurements]
    ) -> Calibration:
        """Return the calibration of a model, and log its origin.

        Args:
            name: the model's name.
            key: what the measurements depend on.
            graph_bytes: size of the graph.
            measure: measures the model.
        """
        cached = self._cache.read(key) if self._cache else None
        if cached is not None and cached.converged:
            measurements, origin = cached, FROM_CACHE
        elif (former := self._of_former_version(name, key, graph_bytes)) is not None:
            measurements, origin = self._stored(key, former), FROM_FORMER_VERSION
        else:
            measurements, origin = self._measured(key, measure, cached)
        calibration = Calibration.of(measurements)
        log.info("%s: %s: %s", name, origin, calibration)
        if origin != MEASURED_UNDER_LOAD:
            self._former[name] = _Version(key, graph_bytes, measurements)
            if len(self._former) > MAX_REMEMBERED:
                del self._former[next(iter(self._former))]
        return calibration

    def _of_former_version(self, name: str, key: CacheKey, graph_bytes: int) -> Measurements | None:
        """Return the measurements of the version before, if it has the same graph and setup."""
        former = self._former.get(name)
        if former is None or msgspec.structs.replace(former.key, digest=key.digest) != key:
            return None
        if abs(former.graph_bytes - graph_bytes) > SIZE_TOLERANCE * graph_bytes:
            return None
        return former.measurements

    def _measured(
        self, key: CacheKey, measure: Callable[[], Measurements], cached: Measurements | None
    ) -> tuple[Measurements, str]:
        """Measure, and store the result unless load disturbed it. Return it and its origin.

        `cached` are the measurements of earlier starts that have not converged.
        """
        runs = self._runs()
        measurements = measure()
        if self._runs() == runs:
            return self._stored(key, measurements), MEASURED
        return measurements.merged(cached) if cached else measurements, MEASURED_UNDER_LOAD

    def _stored(self, key: CacheKey, measurements: Measurements) -> Measurements:
        """Store measurements, which merges them with those on disk. Return the ones to use."""
        return self._cache.store(key, measurements) if self._cache else measurements


@dataclass(frozen=True, slots=True)
class _Version:
    """The last version of a model with reliable measurements."""

    key: CacheKey
    graph_bytes: int
    measurements: Measurements
