"""The registry as a key sees it: only the models that the key may use."""

from __future__ import annotations

from semserve_server.auth.key_store import PRINCIPAL
from semserve_server.engine import Engine
from semserve_server.registry.registry import BundleState, ModelRegistry


class ScopedRegistry(ModelRegistry):
    """A view of the registry for the services. Without a principal every method fails."""

    def __init__(self, models: ModelRegistry) -> None:
        super().__init__(defaults=models.defaults)
        self._models = models
        self.control = models.control
        self.refusals = models.refusals
        self.loading = models.loading
        self.unloaded = models.unloaded

    def check_control(self, name: str) -> None:
        """Refuse model control without the right to it.

        Raises:
            PermissionDenied: the key may not control models, or not this model.
        """
        PRINCIPAL.get().check_control()
        PRINCIPAL.get().check_model(name)

    def refuse_while_draining(self) -> None:
        """Refuse a request if the server drains."""
        self._models.refuse_while_draining()

    def named(self, name: str) -> Engine:
        """Return the model of that name.

        Raises:
            PermissionDenied: the key may not use the model, whether it is loaded or not.
            NotReady, ModelNotFound: as in the base class.
        """
        PRINCIPAL.get().check_model(name)
        return super().named(name)

    def only(self, task: str) -> Engine | None:
        """Return the only loaded model of a task, if the key may use it."""
        engine = self._models.only(task)
        return engine if engine and PRINCIPAL.get().may_use(engine.name) else None

    def unserved(self) -> dict[str, BundleState]:
        """Return the state of each bundle that is not loaded and that the key may use, by name."""
        principal = PRINCIPAL.get()
        states = self._models.unserved()
        return {name: state for name, state in states.items() if principal.may_use(name)}

    def _warm(self) -> dict[str, Engine]:
        principal = PRINCIPAL.get()
        return {
            engine.name: engine for engine in self._models.all() if principal.may_use(engine.name)
        }
