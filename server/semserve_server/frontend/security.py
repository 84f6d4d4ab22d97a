"""TLS and authentication settings."""

from __future__ import annotations

from dataclasses import dataclass

from grpc_health.v1 import health

from semserve_server.auth.key_store import KeyStore
from semserve_server.frontend.certificates import Certificates
from semserve_server.frontend.reflection import REFLECTION


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """The settings. By default there is neither TLS nor authentication."""

    certificates: Certificates | None = None
    """Certificates for TLS; without them, connections are not encrypted."""
    key_store: KeyStore | None = None
    """The valid keys; without it, calls need no key."""
    auth_exempt_health: bool = True
    """Whether health checks need no key."""
    auth_exempt_reflection: bool = False
    """Whether reflection needs no key."""

    @property
    def open_services(self) -> frozenset[str]:
        """Full names of the services that need no key."""
        openness = {
            health.SERVICE_NAME: self.auth_exempt_health,
            **dict.fromkeys(REFLECTION, self.auth_exempt_reflection),
        }
        return frozenset(name for name, is_open in openness.items() if is_open)


OPEN = Security()
"""No TLS, no authentication."""
