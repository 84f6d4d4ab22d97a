"""The RPC `List` of grpc.health.v1, which the stubs of some releases of grpcio lack."""

from __future__ import annotations

import grpc
from semserve_server.frontend.health_schema import HealthListRequest, HealthListResponse


async def list_health(
    channel: grpc.aio.Channel, metadata: tuple[tuple[str, str], ...] = ()
) -> dict[str, int]:
    """Return the status of everything that the server lists, by name."""
    call = channel.unary_unary(
        "/grpc.health.v1.Health/List",
        request_serializer=HealthListRequest.SerializeToString,
        response_deserializer=HealthListResponse.FromString,
    )
    response = await call(HealthListRequest(), metadata=metadata)
    return {name: one.status for name, one in response.statuses.items()}
