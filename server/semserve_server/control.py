"""Loads, replaces and unloads models while the others, and the old ones, answer."""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from semserve_server.calibration_cache import opened
from semserve_server.calibrations import Calibrations
from semserve_server.catalog import Listing, list_bundles
from semserve_server.config import Config
from semserve_server.cpus import usable_cpus
from semserve_server.engine import Engine
from semserve_server.errors import BundleUnreadable, LoadFailed, ModelNotFound, StartupError
from semserve_server.lane import stand_back
from semserve_server.loading import Loaded, load, load_all
from semserve_server.models import Models, shown
from semserve_server.shares import Shares

log = logging.getLogger(__name__)


class ModelControl:
    """Decides what is loaded. Used on the event loop; bundles are loaded on a thread, one by one.

    A new engine takes the place of the old one only when it has given its golden answers; calls
    that have found the old one are answered by it, and then its memory is free. A bundle that
    cannot be served changes nothing but the log and what GetModel tells.
    """

    def __init__(self, config: Config, models: Models) -> None:
        self._config = config
        self._models = models
        self._shares = Shares(config.lanes or usable_cpus(config.processes))
        cache = opened(config.calibration_cache)
        self._calibrations = Calibrations(cache, lambda: self._shares.begun)
        self._loading = asyncio.Lock()
        # Loading while others answer takes no more of the CPUs than a run does. The threads that a
        # session makes are as nice as the one that loads it: were they less so than the lanes, they
        # would keep the CPU from the very run that they wait for.
        self._loader = ThreadPoolExecutor(1, "loader", initializer=stand_back)
        self._refused: dict[Path, Listing] = {}
        """Bundles that were tried in vain, as they were then."""
        self._unloaded: set[str] = set()
        """Models that somebody unloaded, which only somebody loads again."""

    async def start(self, stop: asyncio.Event) -> None:
        """Load every bundle and open the models, or none once `stop` is set.

        Raises:
            StartupError: a bundle cannot be served.
        """
        enough = threading.Event()
        loop = asyncio.get_running_loop()
        loading = loop.run_in_executor(
            self._loader, load_all, self._config, enough, self._calibrations
        )
        stopping = asyncio.create_task(stop.wait())
        either: list[asyncio.Future[Any]] = [loading, stopping]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        enough.set()
        loaded = await loading
        if not stop.is_set():
            self._models.open([self._engine(one) for one in loaded])

    def close(self) -> None:
        """Let every thread end."""
        self._loader.shutdown(wait=False)
        for engine in self._models.alive():
            engine.close()

    async def load(self, name: str) -> Engine:
        """Serve the bundle of that name as it is on the disk now.

        It goes on where its caller leaves. Where that very bundle is served already, nothing is
        done.

        Raises:
            ModelNotFound: no bundle has that name.
            LoadFailed: it cannot be served.
        """
        return await asyncio.shield(asyncio.create_task(self._load(name)))

    async def unload(self, name: str) -> None:
        """Serve a model no longer, until it is loaded again or the server is started anew.

        Raises:
            NotReady, ModelNotFound: it is not loaded.
        """
        async with self._loading:
            self._models.remove(name)
            self._models.refusals.pop(name, None)
            self._unloaded.add(name)
            log.info("%s: unloaded", name)

    async def refresh(self, *, again: bool = False) -> None:
        """Load the bundles that are new or have changed.

        A bundle that was refused is tried again when one of its files has changed, or when what
        kept it from being read may have passed. One that is gone is served on.

        Args:
            again: whether to try also what was refused and has not changed.
        """
        async with self._loading:
            served = {engine.name: engine.digest for engine in self._models.all()}
            for one in await self._listings():
                known = one.name in self._unloaded or one.digest == served.get(one.name)
                if not known and (again or self._refused.get(one.directory) != one):
                    try:
                        await self._serve(one)
                    except StartupError as error:
                        self._refuse(one, error)

    async def _load(self, name: str) -> Engine:
        async with self._loading:
            found = [one for one in await self._listings() if one.name == name]
            if not found:
                raise ModelNotFound(f"--models holds no bundle {shown(name)!r}")
            for engine in self._models.all():
                same = (engine.name, engine.digest) == (name, found[0].digest)
                if same and found[0].problem is None:
                    return engine
            try:
                return await self._serve(found[0])
            except StartupError as error:
                self._refuse(found[0], error)
                raise LoadFailed(self._told(error)) from error

    async def _listings(self) -> list[Listing]:
        if self._config.echo:
            return []
        try:
            return await asyncio.to_thread(list_bundles, self._config.models)
        except StartupError as error:
            log.warning("%s; what is served stays", error)
            return []

    async def _serve(self, listing: Listing) -> Engine:
        """Load a bundle and put it in the place of what its model was until now.

        Raises:
            StartupError: it cannot be served.
        """
        if listing.problem is not None:
            raise listing.problem
        loop = asyncio.get_running_loop()
        loaded = await loop.run_in_executor(
            self._loader, load, self._config, listing.directory, self._calibrations
        )
        name = loaded.bundle.manifest.model
        former = next((one for one in self._models.all() if one.name == name), None)
        engine = self._engine(loaded, former)
        self._models.put(engine)
        self._models.refusals.pop(name, None)
        self._refused.pop(listing.directory, None)
        self._unloaded.discard(name)
        log.info("%s: %s, digest %s", name, "replaced" if former else "loaded", engine.digest)
        return engine

    def _refuse(self, listing: Listing, error: StartupError) -> None:
        """Remember why a bundle is not served, and say so once."""
        # What was not the bundle's fault is tried again at every look.
        passing = isinstance(error, BundleUnreadable)
        if not passing:
            self._refused[listing.directory] = listing
        if self._models.refusals.get(listing.name) != self._told(error):
            self._models.refusals[listing.name] = self._told(error)
            log.error("%s: not loaded: %s", listing.name, error)

    def _told(self, error: StartupError) -> str:
        """Tell a caller what is wrong, but not where the server keeps its files."""
        return " ".join(str(error).replace(f"{self._config.models}/", "").split())

    def _engine(self, loaded: Loaded, former: Engine | None = None) -> Engine:
        return Engine(
            loaded.bundle,
            loaded.tokenizer,
            loaded.runner,
            replace(loaded.capacity, shares=self._shares),
            variant=loaded.variant,
            provider=loaded.provider,
            tally=former.tally if former else None,
        )
