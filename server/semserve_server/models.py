"""The loaded models by name, and which of them a request means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from semserve_server.engine import Engine
from semserve_server.errors import InvalidRequest, ModelNotFound, NotReady

LONGEST_SHOWN = 64
"""Characters of an unknown name that an error repeats."""
TASKS = {"embedding": "an embedding model", "classification": "a classifier"}


class Models:
    """Name to engine. Empty until the server is warm."""

    def __init__(self, *, defaults: Mapping[str, str] = MappingProxyType({})) -> None:
        """Make an empty registry.

        Args:
            defaults: task to the name that answers requests which name no model, where more than
                one model of the task is loaded.
        """
        self.defaults = defaults
        self._engines: dict[str, Engine] = {}

    def open(self, engines: Iterable[Engine]) -> None:
        """Begin to serve `engines`."""
        self._engines = {engine.name: engine for engine in sorted(engines, key=lambda e: e.name)}

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
            shown = name if len(name) <= LONGEST_SHOWN else f"{name[:LONGEST_SHOWN]}…"
            loaded = ", ".join(engines)
            raise ModelNotFound(f"there is no model {shown!r}; loaded are: {loaded}") from None

    def for_task(self, task: str, name: str) -> Engine:
        """Return the model of that name, or where it is empty the default of the task.

        Raises:
            NotReady, ModelNotFound: as `named`.
            InvalidRequest: the model is of another task, or there is no default.
        """
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
        if not self._engines:
            raise NotReady("the server is starting")
        return self._engines

    def _default(self, task: str, candidates: list[Engine]) -> Engine:
        if len(candidates) == 1:
            return candidates[0]
        for engine in candidates:
            if engine.name == self.defaults.get(task):
                return engine
        if not candidates:
            raise InvalidRequest.of("model", f"no loaded model is {TASKS[task]}")
        names = ", ".join(engine.name for engine in candidates)
        raise InvalidRequest.of("model", f"name one of: {names}")
