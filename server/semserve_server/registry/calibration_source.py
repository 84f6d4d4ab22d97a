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

SIZE_TOLERANCE = 0.01
"""Graphs whose sizes differ by at most this share have the same cost: another training of the
same model has the same graph and other weights."""
MAX_REMEMBERED = 256
"""Most models whose measurements stay in memory; the oldest are dropped."""


@dataclass(frozen=True, slots=True)
class _Known:
    key: CacheKey
    graph_bytes: int
    measured: Measurements


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
        self._known: dict[str, _Known] = {}

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
        kept = self._cache.read(key) if self._cache else None
        undisturbed, origin = True, "from the calibration cache"
        if kept is not None and kept.converged:
            measured = kept
        elif (like := self._from_predecessor(name, key, graph_bytes)) is not None:
            measured, origin = like, "from the version before"
        else:
            before = self._runs()
            measured = measure()
            undisturbed = before == self._runs()
            origin = "measured" if undisturbed else "measured under load"
            if kept is not None:
                measured = measured.merged(kept)
        if self._cache and undisturbed and measured is not kept:
            measured = self._cache.store(key, measured)
        calibration = Calibration.of(measured)
        log.info("%s: %s: %s", name, origin, calibration)
        if undisturbed:
            self._known[name] = _Known(key, graph_bytes, measured)
            if len(self._known) > MAX_REMEMBERED:
                del self._known[next(iter(self._known))]
        return calibration

    def _from_predecessor(self, name: str, key: CacheKey, graph_bytes: int) -> Measurements | None:
        known = self._known.get(name)
        if known is None or msgspec.structs.replace(known.key, digest=key.digest) != key:
            return None
        if abs(known.graph_bytes - graph_bytes) > SIZE_TOLERANCE * graph_bytes:
            return None
        return known.measured
