"""The models as a key's principal sees them: its own, and no other's name."""

from __future__ import annotations

from semserve_server.auth.key_store import PRINCIPAL
from semserve_server.engine import Engine
from semserve_server.registry.registry import BundleState, Models


class ScopedRegistry(Models):
    """A view of the registry for the services.

    Without a principal it fails, and so shows nothing.
    """

    def __init__(self, models: Models) -> None:
        super().__init__(defaults=models.defaults)
        self._models = models
        self.control = models.control
        self.refusals = models.refusals
        self.loading = models.loading
        self.unloaded = models.unloaded

    def check_control(self, name: str) -> None:
        """Refuse to load and unload.

        Raises:
            PermissionDenied: the key may not do that, or not with this model.
        """
        PRINCIPAL.get().check_control()
        PRINCIPAL.get().check_model(name)

    def refuse_while_draining(self) -> None:
        """Refuse a request that comes too late."""
        self._models.refuse_while_draining()

    def named(self, name: str) -> Engine:
        """Return the model of that name.

        Raises:
            PermissionDenied: it is not the principal's, whether it is loaded or not.
            NotReady, ModelNotFound: as ever.
        """
        PRINCIPAL.get().check_model(name)
        return super().named(name)

    def unserved(self) -> dict[str, BundleState]:
        """Return the state of the holder's bundles whose models are not loaded, by name."""
        holder = PRINCIPAL.get()
        states = self._models.unserved()
        return {name: state for name, state in states.items() if holder.may_use(name)}

    def _warm(self) -> dict[str, Engine]:
        principal = PRINCIPAL.get()
        return {
            engine.name: engine for engine in self._models.all() if principal.may_use(engine.name)
        }
