"""The loaded models by name, and which of them a request means."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Literal, Protocol, TypeAlias
from weakref import WeakSet

from semserve_server.engine import Engine
from semserve_server.errors import Draining, InvalidRequest, ModelNotFound, NotReady
from semserve_server.runtime.worker_threads import Workers

LONGEST_SHOWN = 64
"""Characters of an unknown name that an error repeats."""
STOPPING = "the server is stopping"
"""What a call is told that comes while the server drains."""
TASKS = {
    "embedding": "an embedding model",
    "classification": "a classifier",
    "score": "a score model",
    "sparse_embedding": "a sparse embedding model",
}


BundleState: TypeAlias = Literal["loading", "refused", "unloaded"]
"""What becomes of a bundle whose model is not loaded."""


class Control(Protocol):
    """What loads and unloads models, where that is allowed."""

    def load(self, name: str) -> Awaitable[Engine]:
        """Serve the bundle of that name as it is on the disk now."""

    async def unload(self, name: str) -> None:
        """Serve the model of that name no longer."""


class Models:
    """Name to engine. Used on the event loop alone; not ready until it is opened."""

    def __init__(self, *, defaults: Mapping[str, str] = MappingProxyType({})) -> None:
        """Make a registry that is not open yet.

        Args:
            defaults: task to the name that answers requests which name no model, where more than
                one model of the task is loaded.
        """
        self.defaults = defaults
        self.control: Control | None = None
        """Changes what is served at callers' wish; None where that is not allowed."""
        self.on_change: Callable[[], None] = _nobody_asked
        """Called when the models are others, or an engine's health has changed."""
        self.refusals: dict[str, str] = {}
        """Why the bundle that is on the disk now is not served, by the model's name."""
        self.loading: set[str] = set()
        """Models of bundles that are being loaded."""
        self.unloaded: set[str] = set()
        """Models that somebody unloaded, which only somebody loads again."""
        self._engines: dict[str, Engine] = {}
        self._opened = False
        self.refusing = asyncio.Event()
        """Set when a request is refused because the server is stopping."""
        self._draining = False
        self._retired: WeakSet[Engine] = WeakSet()
        self.workers = Workers()
        """The threads that work for models, also for those that have been replaced."""

    def open(self, engines: Iterable[Engine]) -> None:
        """Begin to serve `engines`."""
        former = set(self._engines.values())
        self._engines = {engine.name: engine for engine in sorted(engines, key=lambda e: e.name)}
        for engine in self._engines.values():
            if engine not in former:
                self.workers.add(engine, engine.workers)
        self._opened = True
        self.on_change()

    def put(self, engine: Engine) -> None:
        """Serve an engine, from now on in the place of the former one of its name.

        Calls that have found the former one are answered by it, and then it closes.
        """
        former = self._engines.get(engine.name)
        self.open([*(one for one in self._engines.values() if one is not former), engine])
        if former is not None:
            self._retire(former)

    def remove(self, name: str) -> None:
        """Serve a model no longer; calls that have found it are answered.

        Raises:
            NotReady, ModelNotFound: as `named`.
        """
        engine = self.named(name)
        self.open(one for one in self._engines.values() if one is not engine)
        self._retire(engine)

    def drain(self) -> None:
        """Let no further request find a model; those that have found one are answered."""
        self._draining = True

    def refuse_while_draining(self) -> None:
        """Refuse a request that comes too late.

        Raises:
            Draining: the server is stopping.
        """
        if self._draining:
            self.refusing.set()
            raise Draining(STOPPING)

    def alive(self) -> list[Engine]:
        """Return every engine that may still have calls to answer, also those served no longer."""
        return [*self._engines.values(), *self._retired]

    def check_control(self, name: str) -> None:
        """Refuse to load and unload what is not the caller's. Here everything is everybody's."""

    def all(self) -> list[Engine]:
        """Return every model, sorted by name.

        Raises:
            NotReady: no model is warm yet.
        """
        return list(self._warm().values())

    def named(self, name: str) -> Engine:
        """Return the model of that name.

        Raises:
            NotReady: no model is warm yet.
            ModelNotFound: none has that name.
        """
        engines = self._warm()
        try:
            return engines[name]
        except KeyError:
            if name in self.refusals:
                why = f"its bundle is refused: {self.refusals[name]}"
                raise ModelNotFound(f"there is no model {shown(name)!r}: {why}") from None
            loaded = ", ".join(engines) or "none"
            raise ModelNotFound(
                f"there is no model {shown(name)!r}; loaded are: {loaded}"
            ) from None

    def unserved(self) -> dict[str, BundleState]:
        """Return the state of every bundle that is known and whose model is not loaded, by name.

        Raises:
            NotReady: no model is warm yet.
        """
        states: dict[str, BundleState] = dict.fromkeys(self.unloaded, "unloaded")
        states |= dict.fromkeys(self.refusals, "refused")
        states |= dict.fromkeys(self.loading, "loading")
        return {name: state for name, state in states.items() if name not in self._warm()}

    def for_task(self, task: str, name: str) -> Engine:
        """Return the model of that name, or where it is empty the default of the task.

        Raises:
            Draining: the server is stopping.
            NotReady, ModelNotFound: as `named`.
            InvalidRequest: the model is of another task, or there is no default.
        """
        self.refuse_while_draining()
        if name:
            engine = self.named(name)
            if engine.manifest.task != task:
                raise InvalidRequest.of("model", f"{name!r} is not {TASKS[task]}")
            return engine
        return self._default(task, [e for e in self.all() if e.manifest.task == task])

    def any_task(self, name: str) -> Engine:
        """Return the model of that name, or the only one, or the default embedder."""
        if name:
            return self.named(name)
        engines = self.all()
        return engines[0] if len(engines) == 1 else self.for_task("embedding", "")

    def is_default(self, engine: Engine) -> bool:
        """Tell whether requests of its task that name no model mean this one."""
        try:
            return self.for_task(engine.manifest.task, "") is engine
        except InvalidRequest:
            return False

    def _warm(self) -> dict[str, Engine]:
        if not self._opened:
            raise NotReady("the server is starting")
        return self._engines

    def _retire(self, engine: Engine) -> None:
        self._retired.add(engine)
        engine.retire()

    def _default(self, task: str, candidates: list[Engine]) -> Engine:
        if len(candidates) == 1:
            return candidates[0]
        default = self.defaults.get(task, "")
        for engine in candidates:
            if engine.name == default:
                return engine
        if not candidates:
            raise InvalidRequest.of("model", f"no loaded model is {TASKS[task]}")
        names = ", ".join(engine.name for engine in candidates)
        refused = f"the default {default!r} is refused; " if default in self.refusals else ""
        raise InvalidRequest.of("model", f"{refused}name one of: {names}")


def shown(name: str) -> str:
    """Cut a name that a caller made up, for a message that repeats it."""
    return name if len(name) <= LONGEST_SHOWN else f"{name[:LONGEST_SHOWN]}…"


def _nobody_asked() -> None:
    """Tell nobody of a change."""
