"""grpc.reflection, v1 and v1alpha: the schema, for tools such as grpcurl and ghz."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, text_format
from google.protobuf.descriptor import FileDescriptor
from grpc_reflection.v1alpha import reflection, reflection_pb2

from semserve_server.errors import Draining
from semserve_server.frontend import health_schema
from semserve_server.registry.registry import STOPPING
from semserve_server.rpc.drainable_streams import DrainableStreams, require_room
from semserve_server.rpc.handlers import Context, Handlers
from semserve_server.rpc.plain_handlers import bidi_handler

REFLECTION = ("grpc.reflection.v1.ServerReflection", reflection.SERVICE_NAME)
"""Full names of the service. Both versions have the same messages."""
MAX_REFLECTIONS = 256
"""Most open reflection streams. Tools use them briefly, and each may hold an unread reply of
some 20 kB."""


class ReflectionServicer(reflection.aio.ReflectionServicer):  # type: ignore[misc]  # no types
    """grpcio's reflection service, with streams that a drain can end, and usable by ghz."""

    def __init__(self, drainable: DrainableStreams, names: list[str]) -> None:
        super().__init__(names, pool=MethodPool())
        self._drainable = drainable
        self._open = 0

    def handlers(self) -> Handlers:
        """Return the handler of the service's RPC."""
        kind = reflection_pb2.ServerReflectionRequest
        return {"ServerReflectionInfo": bidi_handler(kind, self.ServerReflectionInfo)}

    async def ServerReflectionInfo(  # noqa: N802  (gRPC's name)
        self,
        request_iterator: AsyncIterator[reflection_pb2.ServerReflectionRequest],
        unused_context: Context,
    ) -> AsyncIterator[reflection_pb2.ServerReflectionResponse]:
        """Answer queries about the schema.

        Raises:
            Draining: the server is stopping.
            Overloaded: too many streams are open.
        """
        if self._drainable.ended:
            raise Draining(STOPPING)
        self._drainable.check_room()
        require_room("reflection", self._open, MAX_REFLECTIONS)
        answers = super().ServerReflectionInfo(request_iterator, unused_context)
        self._open += 1
        try:
            while (answer := await self._drainable.unless_ended(anext(answers, None))) is not None:
                yield answer
        finally:
            self._open -= 1


class MethodPool:
    """The default descriptor pool, with reflection v1 and health's `List`; finds methods too.

    ghz asks for the file that contains `pkg.Service.Method`. Protobuf's pool finds services and
    messages by name, but not methods.
    """

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()
        self._pools = (health_schema.POOL, self._pool, _reflection_v1())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def FindFileByName(self, name: str) -> FileDescriptor:  # noqa: N802  (protobuf's)
        """Find a file.

        Raises:
            KeyError: there is no such file.
        """
        for pool in self._pools:
            with contextlib.suppress(KeyError):
                return pool.FindFileByName(name)
        raise KeyError(name)

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:  # noqa: N802  (protobuf's)
        """Find the file that declares a symbol, including methods.

        Raises:
            KeyError: there is no such symbol.
        """
        for pool in self._pools:
            for find in (
                pool.FindFileContainingSymbol,
                lambda name, pool=pool: pool.FindMethodByName(name).containing_service.file,
            ):
                with contextlib.suppress(KeyError):
                    return find(symbol)
        raise KeyError(symbol)


def _reflection_v1() -> descriptor_pool.DescriptorPool:
    """Create a pool with the schema of reflection v1.

    The schema is that of v1alpha under another package name. The pool is separate, so that a
    library can register the same file without a collision.
    """
    file = descriptor_pb2.FileDescriptorProto.FromString(reflection_pb2.DESCRIPTOR.serialized_pb)
    text = text_format.MessageToString(file).replace(
        "grpc.reflection.v1alpha", "grpc.reflection.v1"
    )
    file = text_format.Parse(text, descriptor_pb2.FileDescriptorProto())
    file.name = "grpc/reflection/v1/reflection.proto"
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return pool
