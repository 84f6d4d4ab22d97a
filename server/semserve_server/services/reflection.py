"""Server reflection that ghz and grpcurl can use."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from grpc_reflection.v1alpha import reflection


class MethodPool:
    """The default descriptor pool, which also finds the file of a method.

    ghz asks for the file that holds `pkg.Service.Method`, and protobuf's pool knows services and
    messages by name but not methods.
    """

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:  # noqa: N802  (protobuf's)
        """Find the file that declares a symbol, methods included.

        Raises:
            KeyError: there is none.
        """
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            return self._pool.FindMethodByName(symbol).containing_service.file


SERVICE_NAME: str = reflection.SERVICE_NAME


def enable(server: object, names: list[str]) -> None:
    """Answer reflection for the services of these full names."""
    reflection.enable_server_reflection([*names, SERVICE_NAME], server, pool=MethodPool())
