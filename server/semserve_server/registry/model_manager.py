"""Loads, replaces and unloads models while the others, and the old ones, answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from semserve_server.config import Config
from semserve_server.engine import Engine
from semserve_server.errors import (
    BundleError,
    BundleUnreadable,
    Draining,
    LoadFailed,
    LoadHangs,
    ModelNotFound,
    StartupError,
    free_frames,
)
from semserve_server.registry.calibration_cache import opened
from semserve_server.registry.calibration_source import Calibrations
from semserve_server.registry.defaults import check_defaults
from semserve_server.registry.loader import Loaded, load
from semserve_server.registry.loader_thread import Loader
from semserve_server.registry.refusals import Refusals
from semserve_server.registry.registry import STOPPING, Models, shown
from semserve_server.repository.scan import BundleEntry, list_bundles
from semserve_server.scheduling.concurrency_limit import ConcurrencyLimit
from semserve_server.system.cpus import usable_cpus

log = logging.getLogger(__name__)

_Result = TypeVar("_Result")


class ModelManager:
    """Decides what is loaded. Used on the event loop; bundles are loaded on a thread, one by one.

    A new engine takes the place of the old one only when it has given its golden answers; calls
    that have found the old one are answered by it, and then its memory is free. A bundle that
    cannot be served changes nothing but the log and what GetModel tells.
    """

    def __init__(self, config: Config, models: Models) -> None:
        self._config = config
        self._models = models
        self._limit = shares = ConcurrencyLimit(
            config.batch_workers or usable_cpus(config.processes)
        )
        cache = opened(config.calibration_cache)
        self._loading = asyncio.Lock()
        calibrations = Calibrations(cache, lambda: shares.begun)
        self._loader = Loader(config, models.workers, calibrations)
        self._stopping = asyncio.Event()
        self._refusals = Refusals(models.refusals)
        self._names: dict[Path, str] = {}
        """What was last served from a directory, whose manifest may be broken now."""
        self._unloaded: set[str] = set()
        """Models that somebody unloaded, which only somebody loads again."""

    async def start(self, stop: asyncio.Event) -> None:
        """Load every bundle and open the models, or none once `stop` is set.

        Raises:
            StartupError: a bundle cannot be served.
        """
        loading = asyncio.create_task(self._loader.load_all(load))
        stopping = asyncio.create_task(stop.wait())
        either: list[asyncio.Future[Any]] = [loading, stopping]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not loading.done():
            loading.cancel()
            await asyncio.wait([loading])
        elif not stop.is_set() or loading.exception() is not None:
            found = loading.result()
            self._names = {one.bundle.directory: one.bundle.manifest.model for one in found}
            tasks = {one.bundle.manifest.model: one.bundle.manifest.task for one in found}
            check_defaults(self._models.defaults, tasks)
            self._models.open([self._engine(one) for one in found])

    def stop(self) -> None:
        """Load no more, for the server drains; who waits for a load is told so."""
        self._stopping.set()

    def close(self) -> None:
        """Let every thread end. Nobody waits for one that loads a bundle."""
        self.stop()
        self._loader.close()
        for engine in self._models.alive():
            engine.close()

    async def load(self, name: str) -> Engine:
        """Serve the bundle of that name as it is on the disk now.

        It goes on where its caller leaves. Where that very bundle is served already, nothing is
        done.

        Raises:
            ModelNotFound: no bundle has that name.
            LoadFailed: it cannot be served.
            Draining: the server is stopping.
        """
        return await self._unless_stopped(self._load(name))

    async def unload(self, name: str) -> None:
        """Serve a model no longer, until it is loaded again or the server is started anew.

        A bundle of that name that was refused is not tried again until then either.

        Raises:
            NotReady, ModelNotFound: it is neither loaded nor refused.
            Draining: the server is stopping.
        """
        await self._unless_stopped(self._unload(name))

    async def refresh(self, *, again: bool = False) -> None:
        """Load the bundles that are new or have changed.

        A bundle that was refused is tried again when one of its files has changed, or when what
        kept it from being read may have passed. One that is gone is served on.

        Args:
            again: whether to try also what was refused and has not changed.
        """
        async with self._loading:
            try:
                listings = await self._listings()
            except StartupError as error:
                log.warning("%s; what is served stays", error)
                return
            for one in listings:
                known = one.name in self._unloaded or self._is_served(one)
                if not known and (again or self._refusals.due(one)):
                    try:
                        await self._serve(one)
                    except StartupError as error:
                        self._refuse(one, error)

    async def _load(self, name: str) -> Engine:
        async with self._loading:
            try:
                found = [one for one in await self._listings() if one.name == name]
            except StartupError as error:
                raise LoadFailed(self._told(error)) from None
            if not found:
                raise ModelNotFound(f"--models holds no bundle {shown(name)!r}")
            if self._is_served(found[0]):
                return self._models.named(name)
            try:
                return await self._serve(found[0])
            except StartupError as error:
                self._refuse(found[0], error)
                raise LoadFailed(self._told(error)) from None

    async def _unload(self, name: str) -> None:
        async with self._loading:
            refused = name in self._models.refusals
            try:
                self._models.remove(name)
            except ModelNotFound:
                if not refused:
                    raise
            self._refusals.forget_name(name)
            self._unloaded.add(name)
            log.info("%s: unloaded", name)

    def _is_served(self, listing: BundleEntry) -> bool:
        """Tell whether this very bundle is what its model is served from."""
        return listing.problem is None and any(
            (engine.name, engine.digest) == (listing.name, listing.digest)
            for engine in self._models.all()
        )

    async def _listings(self) -> list[BundleEntry]:
        """Look at the disk, and forget the refusals of bundles that are no longer there.

        Raises:
            BundleUnreadable, LoadHangs: the directory cannot be looked at.
        """
        if self._config.echo:
            return []
        try:
            found = await self._loader.listings(list_bundles)
        except (BundleUnreadable, LoadHangs):
            raise
        except BundleError as error:  # there are none
            log.warning("%s; what is served stays", error)
            found = []
        listings = [self._named(one) for one in found]
        self._refusals.keep(
            [
                one
                for one in listings
                if not self._is_served(one)
                and (one.name not in self._unloaded or not self._refusals.due(one))
            ]
        )
        return listings

    def _named(self, listing: BundleEntry) -> BundleEntry:
        """Name a bundle whose manifest cannot be read as the model that was served from there."""
        if listing.digest or listing.directory not in self._names:
            return listing
        return replace(listing, name=self._names[listing.directory])

    async def _serve(self, listing: BundleEntry) -> Engine:
        """Load a bundle and put it in the place of what its model was until now.

        Raises:
            StartupError: it cannot be served.
        """
        if listing.problem is not None:
            raise listing.problem
        loaded = await self._load_bundle(listing.directory)
        name = loaded.bundle.manifest.model
        former = next((one for one in self._models.all() if one.name == name), None)
        engine = self._engine(loaded, former)
        self._models.put(engine)
        self._refusals.forget(listing)
        self._unloaded.discard(name)
        log.info("%s: %s, digest %s", name, "replaced" if former else "loaded", engine.digest)
        return engine

    async def _load_bundle(self, directory: Path) -> Loaded:
        """Load and prove a bundle, and remember what was served from there.

        Raises:
            StartupError: as `Loader.load`.
        """
        loaded = await self._loader.load(load, directory)
        self._names[directory] = loaded.bundle.manifest.model
        return loaded

    async def _unless_stopped(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Wait for something that goes on where its caller leaves.

        Raises:
            Draining: the server drains first.
        """
        working = asyncio.create_task(work)
        stopping = asyncio.create_task(self._stopping.wait())
        either: list[asyncio.Future[Any]] = [working, stopping]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            working.add_done_callback(_looked_at)
        if working.done():
            return working.result()
        working.cancel()
        raise Draining(STOPPING)

    def _refuse(self, listing: BundleEntry, error: StartupError) -> None:
        """Remember why a bundle is not served, and say so once."""
        if self._refusals.add(listing, self._told(error), error):
            log.error("%s: not loaded: %s", listing.name, error)
        free_frames(error)

    def _told(self, error: StartupError) -> str:
        """Tell a caller what is wrong, but not where the server keeps its files."""
        return " ".join(str(error).replace(f"{self._config.models}/", "").split())

    def _engine(self, loaded: Loaded, former: Engine | None = None) -> Engine:
        return Engine(
            loaded.bundle,
            loaded.tokenizer,
            loaded.runner,
            replace(loaded.capacity, concurrency_limit=self._limit),
            variant=loaded.variant,
            provider=loaded.provider,
            counters=former.counters if former else None,
        )


def _looked_at(task: asyncio.Task[Any]) -> None:
    """Let asyncio not complain of an error that nobody waits for: the log has told it."""
    if not task.cancelled():
        task.exception()
