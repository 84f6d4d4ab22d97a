"""Loads bundles on a thread of its own, which is left alone where it does not return in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from semserve_server.config import Config
from semserve_server.errors import BundleError, BundleUnreadable, LoadHangs, StartupError
from semserve_server.registry.calibration_source import Calibrations
from semserve_server.registry.loader import Loaded
from semserve_server.repository.manifest import find_bundles
from semserve_server.repository.scan import BundleEntry
from semserve_server.runtime.worker_threads import Worker, Workers, WorkerThread
from semserve_server.scheduling.worker import lower_priority

MAX_HUNG_LOADS = 2
"""Loads that may hang at a time. Each has a thread and its bundle's memory, and cannot be ended
but with the process; so further ones are refused."""
_Result = TypeVar("_Result")
_Load = Callable[[Config, Path, Calibrations], Loaded]
_List = Callable[[Path], list[BundleEntry]]


class Loader:
    """Reads and proves bundles, one after another. Used on the event loop."""

    def __init__(self, config: Config, workers: Workers, calibrations: Calibrations) -> None:
        """Make one; its thread starts with the first bundle.

        Args:
            config: where bundles are, and how long a load may take.
            workers: shows the thread, and those that hang.
            calibrations: finds what the runs of a bundle cost.
        """
        self._config = config
        self._workers = workers
        self._calibrations = calibrations
        self._thread = self._new_thread()

    def close(self) -> None:
        """Let the thread end. Nobody waits for it."""
        self._thread.shutdown()

    async def load(self, load: _Load, directory: Path) -> Loaded:
        """Load and prove a bundle.

        Raises:
            StartupError: it cannot be served, or the load has not ended in time.
        """
        return await self._call(
            directory, lambda: load(self._config, directory, self._calibrations)
        )

    async def load_all(self, load: _Load) -> list[Loaded]:
        """Load and prove every bundle.

        Raises:
            StartupError: a bundle or a setting cannot be served; the text names it.
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
                        f"{self._config.models}: two bundles are named {name!r}: remove one"
                    )
            except StartupError as error:
                raise type(error)(f"{error}{_others(loaded, directories[place + 1 :])}") from error
            loaded.append(one)
        return loaded

    async def listings(self, list_bundles: _List) -> list[BundleEntry]:
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
        """Call what reads a directory, and leave it to itself where it does not return in time.

        Raises:
            LoadHangs: it has not returned in time, or too many others have not.
        """
        hung = sum(one.kind == "load" for one in self._workers.hanging())
        if hung >= MAX_HUNG_LOADS:
            raise LoadHangs(
                f"{directory}: {hung} earlier loads hang: find out why, and restart the server"
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
                "--load-timeout: left alone"
            ) from None

    def _new_thread(self) -> WorkerThread:
        # Loading while others answer takes no more of the CPUs than a run does. The threads that a
        # session makes are as nice as the one that loads it: were they less so than the workers, they
        # would keep the CPU from the very run that they wait for.
        thread = WorkerThread("loader", Worker("", "load"), start=lower_priority)
        self._workers.add(thread, [thread.worker])
        return thread


def _others(loaded: list[Loaded], untried: list[Path]) -> str:
    """Tell what became of the other bundles, for the error that ends the start."""
    good = ", ".join(one.bundle.manifest.model for one in loaded)
    rest = ", ".join(one.name for one in untried)
    told = [f"loaded well: {good}"] if good else []
    told += [f"not tried: {rest}"] if rest else []
    return f" (of the others, {'; '.join(told)})" if told else ""
