"""Loads, replaces and unloads models while the server serves."""

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
from semserve_server.registry.calibration_cache import open_cache
from semserve_server.registry.calibration_source import CalibrationSource
from semserve_server.registry.defaults import check_defaults
from semserve_server.registry.loader import Loaded, load
from semserve_server.registry.loader_thread import Loader
from semserve_server.registry.refusals import Refusals
from semserve_server.registry.registry import STOPPING, ModelRegistry
from semserve_server.registry.sessions import gpu_runs
from semserve_server.repository.scan import BundleEntry, list_bundles
from semserve_server.request_checks import shown
from semserve_server.scheduling.concurrency_limit import ConcurrencyLimit
from semserve_server.system.cpus import usable_cpus

log = logging.getLogger(__name__)

_Result = TypeVar("_Result")


class ModelManager:
    """Decides which models are loaded. Used on the event loop; a thread loads one bundle at a time.

    A new engine replaces the old one only after it has reproduced its golden answers. Calls that
    found the old engine finish on it, and then its memory is freed. A bundle that fails to load
    changes nothing except the log and the reply of GetModel.
    """

    def __init__(self, config: Config, models: ModelRegistry) -> None:
        self._config = config
        self._models = models
        self._limit = shares = ConcurrencyLimit(
            config.batch_workers or max(usable_cpus(config.processes), gpu_runs(config))
        )
        cache = open_cache(config.calibration_cache)
        self._loading = asyncio.Lock()
        calibrations = CalibrationSource(cache, lambda: shares.begun)
        self._loader = Loader(config, models.workers, calibrations)
        self._stopping = asyncio.Event()
        self._refusals = Refusals(models.refusals)
        self._names: dict[Path, str] = {}
        """Model that was last loaded from a directory whose manifest may be broken now."""
        self._unloaded = models.unloaded

    async def start(self, stop: asyncio.Event) -> None:
        """Load every bundle and open the registry. Load nothing more once `stop` is set.

        Raises:
            StartupError: a bundle cannot be loaded.
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
        """Load no more bundles, because the server drains. Waiting LoadModel calls fail."""
        self._stopping.set()

    def close(self) -> None:
        """Let every thread end. Does not wait for a thread that loads a bundle."""
        self.stop()
        self._loader.close()
        for engine in self._models.alive():
            engine.close()

    async def load(self, name: str) -> Engine:
        """Load the bundle of that name from the disk.

        The load continues if the caller cancels. If the same bundle is loaded already, nothing
        happens.

        Raises:
            ModelNotFound: no bundle has that name.
            LoadFailed: the bundle cannot be loaded.
            Draining: the server is stopping.
        """
        return await self._unless_stopped(self._load(name))

    async def unload(self, name: str) -> None:
        """Unload a model, until it is loaded again or the server restarts.

        A refused bundle of that name is not retried until then either.

        Raises:
            NotReady, ModelNotFound: the model is neither loaded nor refused.
            Draining: the server is stopping.
        """
        await self._unless_stopped(self._unload(name))

    async def refresh(self, *, again: bool = False) -> None:
        """Load the bundles that are new or have changed.

        A refused bundle is retried when one of its files has changed, or if its failure may have
        passed. A model whose bundle was deleted stays loaded.

        Args:
            again: whether to retry refused bundles that have not changed.
        """
        async with self._loading:
            try:
                entries = await self._entries()
            except StartupError as error:
                log.warning("%s; the loaded models stay", error)
                return
            for one in entries:
                known = one.name in self._unloaded or self._is_served(one)
                if not known and (again or self._refusals.due(one)):
                    try:
                        await self._serve(one)
                    except StartupError as error:
                        self._refuse(one, error)

    async def _load(self, name: str) -> Engine:
        async with self._loading:
            try:
                found = [one for one in await self._entries() if one.name == name]
            except StartupError as error:
                raise LoadFailed(self._reason(error)) from None
            if not found:
                raise ModelNotFound(f"--models contains no bundle {shown(name)!r}")
            if self._is_served(found[0]):
                return self._models.named(name)
            try:
                return await self._serve(found[0])
            except StartupError as error:
                self._refuse(found[0], error)
                raise LoadFailed(self._reason(error)) from None

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

    def _is_served(self, entry: BundleEntry) -> bool:
        """Return whether the model of that name is loaded from this bundle."""
        return entry.problem is None and any(
            (engine.name, engine.digest) == (entry.name, entry.digest)
            for engine in self._models.all()
        )

    async def _entries(self) -> list[BundleEntry]:
        """List the bundles on the disk, and forget the refusals of deleted bundles.

        Raises:
            BundleUnreadable, LoadHangs: the directory cannot be read.
        """
        if self._config.echo:
            return []
        try:
            found = await self._loader.entries(list_bundles)
        except (BundleUnreadable, LoadHangs):
            raise
        except BundleError as error:  # there are none
            log.warning("%s; the loaded models stay", error)
            found = []
        entries = [self._named(one) for one in found]
        self._refusals.keep(
            [
                one
                for one in entries
                if not self._is_served(one)
                and (one.name not in self._unloaded or not self._refusals.due(one))
            ]
        )
        return entries

    def _named(self, entry: BundleEntry) -> BundleEntry:
        """Give a bundle with an unreadable manifest the name of the model last loaded there."""
        if entry.digest or entry.directory not in self._names:
            return entry
        return replace(entry, name=self._names[entry.directory])

    async def _serve(self, entry: BundleEntry) -> Engine:
        """Load a bundle and replace the present version of its model.

        Raises:
            StartupError: the bundle cannot be loaded.
        """
        if entry.problem is not None:
            raise entry.problem
        self._models.loading.add(entry.name)
        try:
            loaded = await self._load_bundle(entry.directory)
        finally:
            self._models.loading.discard(entry.name)
        name = loaded.bundle.manifest.model
        former = next((one for one in self._models.all() if one.name == name), None)
        engine = self._engine(loaded, former)
        self._models.put(engine)
        self._refusals.forget(entry)
        self._unloaded.discard(name)
        log.info("%s: %s, digest %s", name, "replaced" if former else "loaded", engine.digest)
        return engine

    async def _load_bundle(self, directory: Path) -> Loaded:
        """Load and verify a bundle, and store the name of its model.

        Raises:
            StartupError: as `Loader.load`.
        """
        loaded = await self._loader.load(load, directory)
        self._names[directory] = loaded.bundle.manifest.model
        return loaded

    async def _unless_stopped(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Wait for work that continues if the caller cancels.

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
            working.add_done_callback(_retrieve_exception)
        if working.done():
            return working.result()
        working.cancel()
        raise Draining(STOPPING)

    def _refuse(self, entry: BundleEntry, error: StartupError) -> None:
        """Store why a bundle failed to load, and log a new reason once."""
        if self._refusals.add(entry, self._reason(error), error):
            log.error("%s: not loaded: %s", entry.name, error)
        free_frames(error)

    def _reason(self, error: StartupError) -> str:
        """Return an error's text for a caller, without the server's paths."""
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


def _retrieve_exception(task: asyncio.Task[Any]) -> None:
    """Mark the exception of a task as retrieved. The log already has it."""
    if not task.cancelled():
        task.exception()
