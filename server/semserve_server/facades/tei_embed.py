"""tei.v1.Embed: a text to a vector or a sparse vector."""

from __future__ import annotations

from semserve.v1 import embedding_pb2

from semserve_server.errors import Unsupported
from semserve_server.facades.fields import fields_renamed
from semserve_server.facades.ordered_streams import ordered_stream
from semserve_server.facades.stubs.tei.v1 import tei_pb2 as tei
from semserve_server.facades.tei_call import (
    cost,
    model_of,
    require_one_encoder,
    truncation,
)
from semserve_server.registry.registry import ModelRegistry
from semserve_server.repository.manifest import Manifest
from semserve_server.rpc import encoding as wire
from semserve_server.rpc.handlers import Context, Handlers, Streams, unary
from semserve_server.services.embedding import EmbeddingService

_FIELDS = {"texts[0]": "inputs", "texts": "inputs"}
_INT32_MOST = 2**31 - 1


class EmbedFacade:
    """Embed, EmbedStream, EmbedSparse and EmbedSparseStream; EmbedAll is refused."""

    name = "tei.v1.Embed"

    def __init__(self, models: ModelRegistry, embedding: EmbeddingService) -> None:
        self._models = models
        self._embedding = embedding

    def handlers(self, streams: Streams) -> Handlers:
        """Return a handler for each RPC of the service."""
        return {
            "Embed": unary(tei.EmbedRequest, self.embed),
            "EmbedStream": ordered_stream(streams, tei.EmbedRequest, self.embed),
            "EmbedSparse": unary(tei.EmbedSparseRequest, self.embed_sparse),
            "EmbedSparseStream": ordered_stream(streams, tei.EmbedSparseRequest, self.embed_sparse),
            "EmbedAll": unary(tei.EmbedAllRequest, self.embed_all),
            "EmbedAllStream": ordered_stream(streams, tei.EmbedAllRequest, self.embed_all),
        }

    async def embed(self, request: tei.EmbedRequest, context: Context) -> bytes:
        """Return a serialized EmbedResponse: the vector of Embed of `semserve.v1`, to the bit."""
        engine = model_of(self._models, ("embedding",), context)
        require_one_encoder(engine)
        call = embedding_pb2.EmbedRequest(
            model=engine.name,
            texts=[request.inputs],
            normalize=_normalize(request, engine.manifest),
            truncation=truncation(request),
            encoding=embedding_pb2.VECTOR_ENCODING_FLOAT32,
        )
        if request.HasField("dimensions"):
            call.dimensions = min(request.dimensions, _INT32_MOST)
        if request.HasField("prompt_name"):
            call.prompt_name = request.prompt_name
        with fields_renamed(_FIELDS):
            content = await self._embedding.embed(call, context)
        (result,) = embedding_pb2.EmbedResponse.FromString(content).results
        metadata = cost(request.inputs, tokens=result.token_count)
        # The format FLOAT32 of a vector is that of a packed field of floats.
        return wire.delimited(1, result.embedding.packed) + wire.delimited(
            2, metadata.SerializeToString()
        )

    async def embed_sparse(
        self, request: tei.EmbedSparseRequest, context: Context
    ) -> tei.EmbedSparseResponse:
        """Return the weights of EmbedSparse of `semserve.v1`."""
        engine = model_of(self._models, ("sparse_embedding",), context)
        call = embedding_pb2.EmbedSparseRequest(
            model=engine.name, texts=[request.inputs], truncation=truncation(request)
        )
        if request.HasField("prompt_name"):
            call.prompt_name = request.prompt_name
        with fields_renamed(_FIELDS):
            content = await self._embedding.sparse.embed_sparse(call, context)
        (result,) = embedding_pb2.EmbedSparseResponse.FromString(content).results
        return tei.EmbedSparseResponse(
            sparse_embeddings=[
                tei.SparseValue(index=index, value=value)
                for index, value in zip(result.indices, result.values, strict=True)
            ],
            metadata=cost(request.inputs, tokens=result.token_count),
        )

    async def embed_all(self, _request: tei.EmbedAllRequest, _context: Context) -> bytes:
        """Refuse the call.

        Raises:
            Unsupported: always.
        """
        raise Unsupported(
            "EmbedAll: a bundle's graph gives one vector a text, and none for its tokens"
        )


def _normalize(request: tei.EmbedRequest, manifest: Manifest) -> bool:
    """Return whether to scale the vector to unit length.

    Raises:
        Unsupported: the request says no, and the model's graph gives unit vectors.
    """
    wanted = request.normalize if request.HasField("normalize") else True
    if not wanted and manifest.normalized:
        raise Unsupported(
            f"normalize: false: the graph of {manifest.model} gives vectors of unit length"
        )
    return wanted
