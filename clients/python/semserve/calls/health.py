"""The health of a server or one of its models: the requests of `grpc.health.v1`."""

from typing import Literal

from grpc_health.v1 import health_pb2

from semserve.requests.values import Words
from semserve.requests.work import Method, Work, single

CHECK = Method(
    "/grpc.health.v1.Health/Check",
    health_pb2.HealthCheckRequest,
    health_pb2.HealthCheckResponse,
)
WATCH = Method(
    "/grpc.health.v1.Health/Watch",
    health_pb2.HealthCheckRequest,
    health_pb2.HealthCheckResponse,
    "unary_stream",
)
Health = Literal["serving", "not_serving", "service_unknown", "unknown"]
_STATUS = Words(health_pb2.HealthCheckResponse.ServingStatus, prefix="")


def check(service: str) -> Work[Health]:
    """Create the work to check the server, or one model by its name."""
    return single(CHECK, request(service), read)


def request(service: str) -> health_pb2.HealthCheckRequest:
    """Create the request of Check and Watch."""
    return health_pb2.HealthCheckRequest(service=service)


def read(_: object, response: health_pb2.HealthCheckResponse) -> Health:
    """Read the word for a status."""
    word: Health = _STATUS.word(response.status)
    return word
