"""Where a model's calibration comes from: the disk, a like model of this process, or measuring."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from semserve_server.registry.calibration import Calibration
from semserve_server.registry.calibration_cache import CalibrationCache, Key
from semserve_server.registry.measurements import Measurements

log = logging.getLogger(__name__)

LIKE = 0.01
"""How much the sizes of two graphs may differ, as a share, that cost the same: another training of
the same model has the same graph and other weights."""
MOST_KNOWN = 256
"""Models whose measurements are remembered; the first are forgotten."""


@dataclass(frozen=True, slots=True)
class _Known:
    key: Key
    graph_bytes: int
    measured: Measurements


class Calibrations:
    """Finds calibrations. Used by one thread at a time.

    A model that replaces one of its name beside traffic would be measured beside busy workers, and
    what it then seems to cost would rule until the process ends. So it takes over the measurements
    of a like model that was served before.
    """

    def __init__(
        self, cache: CalibrationCache | None = None, runs: Callable[[], int] = lambda: 0
    ) -> None:
        """Make one.

        Args:
            cache: the disk; None for none.
            runs: tells how many runs have begun in this process. Where that grows while something
                is measured, it was measured beside load.
        """
        self._cache = cache
        self._runs = runs
        self._known: dict[str, _Known] = {}

    def find(
        self, name: str, key: Key, graph_bytes: int, measure: Callable[[], Measurements]
    ) -> Calibration:
        """Return the calibration of a model, and log where it comes from.

        Args:
            name: of the model.
            key: what its measurements depend on.
            graph_bytes: size of its graph.
            measure: measures it.
        """
        kept = self._cache.read(key) if self._cache else None
        undisturbed, origin = True, "as measured before"
        if kept is not None and kept.settled:
            measured = kept
        elif (like := self._of_the_like(name, key, graph_bytes)) is not None:
            measured, origin = like, "as of the version before it"
        else:
            before = self._runs()
            measured = measure()
            undisturbed = before == self._runs()
            origin = "measured" if undisturbed else "measured while other models ran"
            if kept is not None:
                measured = measured.merged(kept)
        if self._cache and undisturbed and measured is not kept:
            measured = self._cache.keep(key, measured)
        calibration = Calibration.of(measured)
        log.info("%s: %s: %s", name, origin, calibration)
        if undisturbed:
            self._known[name] = _Known(key, graph_bytes, measured)
            if len(self._known) > MOST_KNOWN:
                del self._known[next(iter(self._known))]
        return calibration

    def _of_the_like(self, name: str, key: Key, graph_bytes: int) -> Measurements | None:
        known = self._known.get(name)
        if known is None or msgspec.structs.replace(known.key, digest=key.digest) != key:
            return None
        if abs(known.graph_bytes - graph_bytes) > LIKE * graph_bytes:
            return None
        return known.measured
