"""Calls of the API of text-embeddings-inference."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc
from semserve_server.facades.stubs.tei.v1 import tei_pb2 as tei

LONG = "cat sat on a mat " * 40
REPLIES = {
    "Tokenize": "EncodeResponse",
    "Decode": "DecodeResponse",
    "PredictPair": "PredictResponse",
}


def reply_type(method: str) -> Any:
    name = method.rpartition("/")[2].removesuffix("Stream")
    return getattr(tei, REPLIES.get(name, f"{name}Response"))


class TeiCalls:
    """Calls a method by its name, on the model that is named."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel

    def __call__(self, method: str, request: Any, model: str = "") -> Any:
        return self._channel.unary_unary(
            f"/tei.v1.{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=reply_type(method).FromString,
        )(request, metadata=(("semserve-model", model),) if model else None)


def streamed(channel: grpc.Channel, method: str, requests: Iterable[Any]) -> Any:
    return channel.stream_stream(
        f"/tei.v1.{method}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=reply_type(method).FromString,
    )(iter(requests))
