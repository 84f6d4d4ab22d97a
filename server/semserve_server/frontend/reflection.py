"""grpc.reflection, v1 and v1alpha: the schema, told to tools such as grpcurl and ghz."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, text_format
from google.protobuf.descriptor import FileDescriptor
from grpc_reflection.v1alpha import reflection, reflection_pb2

from semserve_server.errors import Draining
from semserve_server.registry.registry import STOPPING
from semserve_server.rpc.drainable_streams import DrainableStreams, require_room
from semserve_server.rpc.handlers import Context, Handlers
from semserve_server.rpc.plain_handlers import dialogue

REFLECTION = ("grpc.reflection.v1.ServerReflection", reflection.SERVICE_NAME)
"""Full names of the service, whose messages are the same under both."""
MAX_REFLECTIONS = 256
"""Most streams of reflection at a time. People's tools use them for a moment, and each may hold an
answer of some 20 kB that is not read."""


class ReflectionServicer(reflection.aio.ReflectionServicer):  # type: ignore[misc]  # no types
    """grpcio's reflection, which ghz can use and whose stream can be ended."""

    def __init__(self, drainable: DrainableStreams, names: list[str]) -> None:
        super().__init__(names, pool=MethodPool())
        self._drainable = drainable
        self._open = 0

    def handlers(self) -> Handlers:
        """Return the handler of the service's RPC."""
        kind = reflection_pb2.ServerReflectionRequest
        return {"ServerReflectionInfo": dialogue(kind, self.ServerReflectionInfo)}

    async def ServerReflectionInfo(  # noqa: N802  (gRPC's name)
        self,
        request_iterator: AsyncIterator[reflection_pb2.ServerReflectionRequest],
        unused_context: Context,
    ) -> AsyncIterator[reflection_pb2.ServerReflectionResponse]:
        """Answer what is asked of the schema.

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
    """The default descriptor pool, which also finds the file of a method, and reflection's v1.

    ghz asks for the file that holds `pkg.Service.Method`, and protobuf's pool knows services and
    messages by name but not methods.
    """

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()
        self._reflection = _reflection_v1()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def FindFileByName(self, name: str) -> FileDescriptor:  # noqa: N802  (protobuf's)
        """Find a file.

        Raises:
            KeyError: there is none.
        """
        try:
            return self._pool.FindFileByName(name)
        except KeyError:
            return self._reflection.FindFileByName(name)

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:  # noqa: N802  (protobuf's)
        """Find the file that declares a symbol, methods included.

        Raises:
            KeyError: there is none.
        """
        for pool in (self._pool, self._reflection):
            for find in (
                pool.FindFileContainingSymbol,
                lambda name, pool=pool: pool.FindMethodByName(name).containing_service.file,
            ):
                with contextlib.suppress(KeyError):
                    return find(symbol)
        raise KeyError(symbol)


def _reflection_v1() -> descriptor_pool.DescriptorPool:
    """Make a pool of the schema of reflection's v1.

    It is v1alpha's under another package name. It is in a pool of its own, so that a library that
    brings the file itself does not find its name taken.
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
