"""EmbeddingService: texts to vectors."""

from __future__ import annotations

from semserve.v1 import embedding_pb2

from semserve_server.errors import InvalidRequest
from semserve_server.registry.registry import ModelRegistry
from semserve_server.repository.manifest import Manifest
from semserve_server.rpc import encoding as wire
from semserve_server.rpc.handlers import Context, Handlers, Streams, StreamShape, unary
from semserve_server.services import validation as checks
from semserve_server.services.execution import ITEM_BYTES, InferenceRequest, execute
from semserve_server.services.prompts import prompt_text
from semserve_server.services.scores import Rows, normalized
from semserve_server.services.scoring_thread import ScoringThread
from semserve_server.services.sparse_embedding import SparseEmbedding
from semserve_server.services.validation import Limits


class EmbeddingService:
    """Embed, StreamEmbed and EmbedSparse."""

    name = "semserve.v1.EmbeddingService"

    def __init__(self, models: ModelRegistry, limits: Limits, scorer: ScoringThread) -> None:
        self._models = models
        self._limits = limits
        self.sparse = SparseEmbedding(models, limits, scorer)

    def handlers(self, streams: Streams) -> Handlers:
        """Return a handler for each RPC of the service."""
        shape = StreamShape(embedding_pb2.StreamEmbedRequest, embedding_pb2.StreamEmbedResponse)
        return {
            "Embed": unary(
                embedding_pb2.EmbedRequest, self.embed, max_fields=self._limits.max_texts
            ),
            "StreamEmbed": streams.handler(shape, self.embed),
            "EmbedSparse": unary(
                embedding_pb2.EmbedSparseRequest,
                self.sparse.embed_sparse,
                max_fields=self._limits.max_texts,
            ),
        }

    async def embed(self, request: embedding_pb2.EmbedRequest, context: Context) -> bytes:
        """Return a serialized EmbedResponse."""
        engine = self._models.for_task("embedding", request.model)
        unit = bool(engine.manifest.normalized)
        vector_format = _VectorFormat(request, engine.manifest.outputs, unit=unit)
        inference_request = self._inference_request(request, vector_format, engine.manifest)
        result = await execute(engine, inference_request, context)
        vectors = vector_format.write(result.inference.rows) if result.inference else []
        return wire.response(engine.name, vectors, result.items, result.usage)

    def _inference_request(
        self, request: embedding_pb2.EmbedRequest, vector_format: _VectorFormat, manifest: Manifest
    ) -> InferenceRequest:
        checks.count("texts", len(request.texts), self._limits)
        texts = list(request.texts)
        side = checks.side(request.side, manifest.sides)
        prompt = prompt_text(manifest, request)
        return InferenceRequest(
            items=[prompt + text for text in texts] if prompt else texts,
            sides=None if side is None else [side] * len(texts),
            field="texts",
            violations=checks.text_violations("texts", texts, self._limits),
            truncation=checks.truncation(request.truncation, manifest.truncation),
            allow_partial=request.allow_partial,
            reply_bytes=len(texts) * (vector_format.row_bytes + ITEM_BYTES),
        )


class _VectorFormat:
    """The format of a request's vectors: dimensions, normalisation and encoding."""

    __slots__ = ("_dimensions", "_encode", "_normalize")

    def __init__(self, request: embedding_pb2.EmbedRequest, size: int, *, unit: bool) -> None:
        if request.encoding not in wire.ENCODERS:
            raise InvalidRequest.of("encoding", f"{request.encoding} is not a VectorEncoding")
        self._encode = wire.ENCODERS[request.encoding]
        self._dimensions = size
        if request.HasField("dimensions"):
            self._dimensions = checks.within("dimensions", request.dimensions, most=size)
        # Unit vectors from the graph need no second normalisation unless they are shortened.
        wanted = request.normalize if request.HasField("normalize") else unit
        self._normalize = wanted and (self._dimensions < size or not unit)

    @property
    def row_bytes(self) -> int:
        """Upper bound of the bytes of one vector."""
        return 4 * self._dimensions

    def write(self, rows: Rows) -> list[bytes]:
        """Serialize each row as an Embedding."""
        rows = rows[:, : self._dimensions]
        return self._encode(normalized(rows) if self._normalize else rows)
