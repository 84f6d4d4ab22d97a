"""The schema of grpc.health.v1 with the RPC `List`, whatever grpcio-health-checking is installed.

The schema of grpcio-health-checking before 1.84 has `Check` and `Watch` alone. The protocol has had
`List` since 2025; see grpc/health/v1/health.proto of https://github.com/grpc/grpc-proto. Where the
package lacks `List`, this module adds it to a copy of the package's schema.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2

PACKAGE = "grpc.health.v1"
_Field = descriptor_pb2.FieldDescriptorProto


def _with_list() -> DescriptorPool:
    """Create a pool with the schema of the package and, in addition, `List` with its messages.

    The pool is not the default one, so that a library that registers the same file does not
    collide with it.
    """
    file = descriptor_pb2.FileDescriptorProto.FromString(health_pb2.DESCRIPTOR.serialized_pb)
    file.message_type.add(name="HealthListRequest")
    response = file.message_type.add(name="HealthListResponse")
    # A map is a repeated message of this shape: https://protobuf.dev/programming-guides/proto3/#backwards
    entry = response.nested_type.add(name="StatusesEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, label=_Field.LABEL_OPTIONAL, type=_Field.TYPE_STRING)
    entry.field.add(
        name="value",
        number=2,
        label=_Field.LABEL_OPTIONAL,
        type=_Field.TYPE_MESSAGE,
        type_name=f".{PACKAGE}.HealthCheckResponse",
    )
    response.field.add(
        name="statuses",
        number=1,
        label=_Field.LABEL_REPEATED,
        type=_Field.TYPE_MESSAGE,
        type_name=f".{PACKAGE}.HealthListResponse.StatusesEntry",
    )
    file.service[0].method.add(
        name="List",
        input_type=f".{PACKAGE}.HealthListRequest",
        output_type=f".{PACKAGE}.HealthListResponse",
    )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return pool


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(f"{PACKAGE}.{name}"))


POOL: DescriptorPool = (
    descriptor_pool.Default() if hasattr(health_pb2, "HealthListRequest") else _with_list()
)
"""Has the schema with `List`: the default pool if the package has it there."""
HealthListRequest: Any = _message("HealthListRequest")
"""The message `HealthListRequest {}`."""
HealthListResponse: Any = _message("HealthListResponse")
"""The message `HealthListResponse { map<string, HealthCheckResponse> statuses = 1; }`."""
