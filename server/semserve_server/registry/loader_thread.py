"""Loads bundles on a separate thread. A load that does not return in time is abandoned."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from semserve_server.config import Config
from semserve_server.errors import (
    BundleError,
    BundleUnreadable,
    ConfigError,
    LoadHangs,
    StartupError,
)
from semserve_server.registry.calibration_source import CalibrationSource
from semserve_server.registry.loader import Loaded
from semserve_server.repository.manifest import find_bundles
from semserve_server.repository.scan import BundleEntry
from semserve_server.runtime.worker_threads import Worker, Workers, WorkerThread
from semserve_server.scheduling.worker import lower_priority

MAX_HUNG_LOADS = 2
"""Most loads that may hang at a time. Each keeps a thread and its bundle's memory until the
process ends, so further loads are refused."""
_Result = TypeVar("_Result")
_Load = Callable[[Config, Path, CalibrationSource], Loaded]
_List = Callable[[Path], list[BundleEntry]]


class Loader:
    """Reads and verifies bundles, one after another. Used on the event loop."""

    def __init__(self, config: Config, workers: Workers, calibrations: CalibrationSource) -> None:
        """Create a loader. Its thread starts with the first bundle.

        Args:
            config: directory of the bundles, and the time limit of a load.
            workers: registers the thread, for the watchdog.
            calibrations: finds the cost of a bundle's runs.
        """
        self._config = config
        self._workers = workers
        self._calibrations = calibrations
        self._thread = self._new_thread()

    def close(self) -> None:
        """Let the thread end. Does not wait for it."""
        self._thread.shutdown()

    async def load(self, load: _Load, directory: Path) -> Loaded:
        """Load and verify a bundle.

        Raises:
            StartupError: the bundle cannot be loaded, or the load did not end in time.
        """
        return await self._call(
            directory, lambda: load(self._config, directory, self._calibrations)
        )

    async def load_all(self, load: _Load) -> list[Loaded]:
        """Load and verify every bundle.

        Raises:
            StartupError: a bundle or a setting is invalid; the text names it.
        """
        if self._config.echo:
            return [await self.load(load, self._config.models)]
        loaded: list[Loaded] = []
        directories = find_bundles(self._config.models)
        for place, directory in enumerate(directories):
            try:
                one = await self.load(load, directory)
                name = one.bundle.manifest.model
                if any(other.bundle.manifest.model == name for other in loaded):
                    raise BundleError(
                        f"{self._config.models}: two bundles have the name {name!r}: remove one"
                    )
            except ConfigError:
                raise  # concerns every bundle
            except StartupError as error:
                raise type(error)(
                    f"{error}{_other_bundles(loaded, directories[place + 1 :])}"
                ) from error
            loaded.append(one)
        return loaded

    async def entries(self, list_bundles: _List) -> list[BundleEntry]:
        """List the bundles on the disk.

        Raises:
            BundleError: there are none.
            BundleUnreadable, LoadHangs: the directory cannot be looked at.
        """
        models = self._config.models
        try:
            return await self._call(models, lambda: list_bundles(models))
        except OSError as error:
            raise BundleUnreadable(f"{models}: cannot be read: {error}") from error

    async def _call(self, directory: Path, function: Callable[[], _Result]) -> _Result:
        """Call a function that reads a directory. Abandon it if it does not return in time.

        Raises:
            LoadHangs: the call did not return in time, or too many earlier calls hang.
        """
        hung = sum(one.kind == "load" for one in self._workers.hanging())
        if hung >= MAX_HUNG_LOADS:
            raise LoadHangs(
                f"{directory}: {hung} earlier loads hang: find the reason, and restart the server"
            )
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._config.load_timeout or None):
                return await loop.run_in_executor(self._thread, function)
        except TimeoutError:
            self._thread.worker.stalled = True
            self._thread.shutdown()
            self._thread = self._new_thread()
            raise LoadHangs(
                f"{directory}: has not loaded within {self._config.load_timeout:g} s, "
                "--load-timeout: abandoned"
            ) from None

    def _new_thread(self) -> WorkerThread:
        # A load uses no more CPU priority than a run. The threads of a session inherit the niceness
        # of the thread that creates it: with a lower niceness than the workers they would take the
        # CPU from the run that they belong to.
        thread = WorkerThread("loader", Worker("", "load"), start=lower_priority)
        self._workers.add(thread, [thread.worker])
        return thread


def _other_bundles(loaded: list[Loaded], untried: list[Path]) -> str:
    """Return what happened to the other bundles, for the error that ends the start."""
    good = ", ".join(one.bundle.manifest.model for one in loaded)
    rest = ", ".join(one.name for one in untried)
    others = [f"loaded: {good}"] if good else []
    others += [f"not tried: {rest}"] if rest else []
    return f" (other bundles: {'; '.join(others)})" if others else ""
