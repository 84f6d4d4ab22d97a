"""openai.v1.Embeddings: the embeddings API of OpenAI, for a transcoder from JSON to gRPC."""

from __future__ import annotations

import base64

import numpy as np
from google.protobuf import struct_pb2
from semserve.v1 import embedding_pb2

from semserve_server.errors import InvalidRequest
from semserve_server.facades.fields import fields_renamed
from semserve_server.facades.stubs.openai.v1 import embeddings_pb2 as openai
from semserve_server.rpc.handlers import Context, Handlers, unary
from semserve_server.services import validation as checks
from semserve_server.services.embedding import EmbeddingService
from semserve_server.services.validation import Limits

FORMATS = ("", "float", "base64")


class OpenAIEmbeddings:
    """Create."""

    name = "openai.v1.Embeddings"

    def __init__(self, limits: Limits, embedding: EmbeddingService) -> None:
        self._limits = limits
        self._embedding = embedding

    def handlers(self) -> Handlers:
        """Return a handler for each RPC of the service."""
        return {"Create": unary(openai.CreateEmbeddingsRequest, self.create)}

    async def create(
        self, request: openai.CreateEmbeddingsRequest, context: Context
    ) -> openai.CreateEmbeddingsResponse:
        """Return the vector of each text: that of Embed of `semserve.v1`, to the bit."""
        if request.encoding_format not in FORMATS:
            raise InvalidRequest.of(
                "encoding_format", f"{request.encoding_format[:64]!r}; it is float or base64"
            )
        texts = self._texts(request)
        call = embedding_pb2.EmbedRequest(
            model=request.model, texts=texts, encoding=embedding_pb2.VECTOR_ENCODING_FLOAT32
        )
        if request.HasField("dimensions"):
            call.dimensions = request.dimensions
        names = {f"texts[{place}]": f"input[{place}]" for place in range(len(texts))}
        with fields_renamed(names | {"texts": "input"}):
            content = await self._embedding.embed(call, context)
        answer = embedding_pb2.EmbedResponse.FromString(content)
        tokens = answer.usage.token_count
        return openai.CreateEmbeddingsResponse(
            object="list",
            model=answer.model,
            data=[
                openai.EmbeddingEntry(
                    object="embedding",
                    index=place,
                    embedding=_value(result.embedding.packed, request.encoding_format),
                )
                for place, result in enumerate(answer.results)
            ],
            usage=openai.EmbeddingsUsage(prompt_tokens=tokens, total_tokens=tokens),
        )

    def _texts(self, request: openai.CreateEmbeddingsRequest) -> list[str]:
        """Return the texts of the input.

        Raises:
            InvalidRequest: the input is neither a string nor a list of strings.
        """
        given = request.input
        if given.WhichOneof("kind") == "string_value":
            return [given.string_value]
        if given.WhichOneof("kind") != "list_value":
            raise InvalidRequest.of("input", "is neither a string nor a list of strings")
        values = given.list_value.values
        checks.count("input", len(values), self._limits)
        for place, value in enumerate(values):
            if value.WhichOneof("kind") != "string_value":
                raise InvalidRequest.of(
                    f"input[{place}]", "is no string; token ids are not taken: send texts"
                )
        return [value.string_value for value in values]


def _value(packed: bytes, encoding_format: str) -> struct_pb2.Value:
    """Return a vector as a list of numbers, or as a string in base64."""
    if encoding_format == "base64":
        return struct_pb2.Value(string_value=base64.b64encode(packed).decode())
    numbers = np.frombuffer(packed, "<f4").astype(float).tolist()
    values = [struct_pb2.Value(number_value=number) for number in numbers]
    return struct_pb2.Value(list_value=struct_pb2.ListValue(values=values))
