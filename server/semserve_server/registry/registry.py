"""The loaded models by name, and which of them a request uses."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Literal, Protocol, TypeAlias
from weakref import WeakSet

from semserve_server.engine import Engine
from semserve_server.errors import Draining, InvalidRequest, ModelNotFound, NotReady
from semserve_server.request_checks import shown
from semserve_server.runtime.worker_threads import Workers

STOPPING = "the server is stopping"
"""Error text of a call that arrives while the server drains."""
TASKS = {
    "embedding": "an embedding model",
    "classification": "a classifier",
    "score": "a score model",
    "sparse_embedding": "a sparse embedding model",
}


BundleState: TypeAlias = Literal["loading", "refused", "unloaded"]
"""The state of a bundle whose model is not loaded."""


class Control(Protocol):
    """Loads and unloads models, if the server allows it."""

    def load(self, name: str) -> Awaitable[Engine]:
        """Load the bundle of that name from the disk."""

    async def unload(self, name: str) -> None:
        """Unload the model of that name."""


class ModelRegistry:
    """The loaded engines by name. Used only on the event loop; not ready until `open`."""

    def __init__(self, *, defaults: Mapping[str, str] = MappingProxyType({})) -> None:
        """Create a registry that is not open.

        Args:
            defaults: for each task, the name of the model for requests that name no model, if
                several models of the task are loaded.
        """
        self.defaults = defaults
        self.control: Control | None = None
        """Loads and unloads models for callers; None if that is not allowed."""
        self.on_change: Callable[[], None] = _ignore
        """Called when models were loaded or unloaded, or when the health of an engine has
        changed."""
        self.refusals: dict[str, str] = {}
        """Why the present bundle on the disk failed to load, by the model's name."""
        self.loading: set[str] = set()
        """Names of models that are being loaded."""
        self.unloaded: set[str] = set()
        """Names of models that UnloadModel removed. Only LoadModel loads them again."""
        self._engines: dict[str, Engine] = {}
        self._only: dict[str, Engine] = {}  # by task, where one model has it
        self._opened = False
        self.refusing = asyncio.Event()
        """Set when a request is refused because the server is stopping."""
        self._draining = False
        self._retired: WeakSet[Engine] = WeakSet()
        self.workers = Workers()
        """The worker threads of all models, including those of replaced models."""

    def open(self, engines: Iterable[Engine]) -> None:
        """Start to serve `engines`."""
        former = set(self._engines.values())
        self._engines = {engine.name: engine for engine in sorted(engines, key=lambda e: e.name)}
        tasks = Counter(engine.manifest.task for engine in self._engines.values())
        self._only = {
            engine.manifest.task: engine
            for engine in self._engines.values()
            if tasks[engine.manifest.task] == 1
        }
        for engine in self._engines.values():
            if engine not in former:
                self.workers.add(engine, engine.workers)
        self._opened = True
        self.on_change()

    def put(self, engine: Engine) -> None:
        """Add an engine, or replace the engine of the same name.

        Calls that found the old engine finish on it. Then it closes.
        """
        former = self._engines.get(engine.name)
        self.open([*(one for one in self._engines.values() if one is not former), engine])
        if former is not None:
            self._retire(former)

    def remove(self, name: str) -> None:
        """Remove a model. Calls that found it finish.

        Raises:
            NotReady, ModelNotFound: as `named`.
        """
        engine = self.named(name)
        self.open(one for one in self._engines.values() if one is not engine)
        self._retire(engine)

    def drain(self) -> None:
        """Let no further request find a model. Requests that found one finish."""
        self._draining = True

    def refuse_while_draining(self) -> None:
        """Refuse a request if the server drains.

        Raises:
            Draining: the server is stopping.
        """
        if self._draining:
            self.refusing.set()
            raise Draining(STOPPING)

    def alive(self) -> list[Engine]:
        """Return every engine that may have unfinished calls, including removed ones."""
        return [*self._engines.values(), *self._retired]

    def check_control(self, name: str) -> None:
        """Refuse model control of a model that the caller may not control.

        Here every caller may.
        """

    def all(self) -> list[Engine]:
        """Return every model, sorted by name.

        Raises:
            NotReady: no model is loaded yet.
        """
        return list(self._warm().values())

    def named(self, name: str) -> Engine:
        """Return the model of that name.

        Raises:
            NotReady: no model is loaded yet.
            ModelNotFound: no model has that name.
        """
        engines = self._warm()
        try:
            return engines[name]
        except KeyError:
            if name in self.refusals:
                reason = f"its bundle failed to load: {self.refusals[name]}"
                raise ModelNotFound(f"there is no model {shown(name)!r}: {reason}") from None
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
        """Return the model of that name. Without a name: the default of the task.

        Raises:
            Draining: the server is stopping.
            NotReady, ModelNotFound: as `named`.
            InvalidRequest: the model has another task, or there is no default.
        """
        self.refuse_while_draining()
        if name:
            engine = self.named(name)
            if engine.manifest.task != task:
                raise InvalidRequest.of("model", f"{name!r} is not {TASKS[task]}")
            return engine
        if (only := self.only(task)) is not None:
            return only
        return self._default(task, [e for e in self.all() if e.manifest.task == task])

    def only(self, task: str) -> Engine | None:
        """Return the only loaded model of a task, unless the server drains.

        None if no model or several have the task.
        """
        return None if self._draining else self._only.get(task)

    def any_task(self, name: str) -> Engine:
        """Return the model of that name.

        Without a name: the only model, or the default embedder.
        """
        if name:
            return self.named(name)
        engines = self.all()
        return engines[0] if len(engines) == 1 else self.for_task("embedding", "")

    def is_default(self, engine: Engine) -> bool:
        """Return whether requests of the model's task that name no model use this model."""
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
        refused = (
            f"the default model {default!r} failed to load; " if default in self.refusals else ""
        )
        raise InvalidRequest.of("model", f"{refused}name one of: {names}")


def _ignore() -> None:
    """Do nothing."""
