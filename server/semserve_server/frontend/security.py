"""What strangers meet at the port: encryption, and who needs a key."""

from __future__ import annotations

from dataclasses import dataclass

from grpc_health.v1 import health

from semserve_server.auth.key_store import KeyStore
from semserve_server.frontend.certificates import Certificates
from semserve_server.frontend.reflection import REFLECTION


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """Nothing, unless something is given."""

    certificates: Certificates | None = None
    """For TLS; without them the port speaks plain text."""
    key_store: KeyStore | None = None
    """Who may call; without it, whoever connects."""
    auth_exempt_health: bool = True
    """Whether health is told without a key."""
    auth_exempt_reflection: bool = False
    """Whether the schema is shown without a key."""

    @property
    def open_services(self) -> frozenset[str]:
        """Full names of the services that nobody needs a key for."""
        openness = {
            health.SERVICE_NAME: self.auth_exempt_health,
            **dict.fromkeys(REFLECTION, self.auth_exempt_reflection),
        }
        return frozenset(name for name, is_open in openness.items() if is_open)


OPEN = Security()
"""Plain text, and whoever connects."""
