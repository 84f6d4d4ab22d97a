"""Builds the descriptor set for Envoy's transcoder from JSON to gRPC, with an HTTP rule a method.

The rules are those of `google.api.http`. They stand here and not in the schema, so that no client
needs `google/api/annotations.proto`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from build import SOURCES, compile_schema
from google.api import annotations_pb2
from google.protobuf import descriptor_pb2

RULES = {
    "semserve.v1.EmbeddingService.Embed": "POST /v1/embed",
    "semserve.v1.EmbeddingService.EmbedSparse": "POST /v1/embed_sparse",
    "semserve.v1.ClassificationService.Classify": "POST /v1/classify",
    "semserve.v1.SimilarityService.Compare": "POST /v1/compare",
    "semserve.v1.SimilarityService.Rank": "POST /v1/rank",
    "semserve.v1.SimilarityService.Search": "POST /v1/search",
    "semserve.v1.SimilarityService.Matrix": "POST /v1/matrix",
    "semserve.v1.ScoreService.Score": "POST /v1/score",
    "semserve.v1.ScoreService.Rerank": "POST /v1/rerank",
    "semserve.v1.ModelService.ListModels": "GET /v1/models",
    "semserve.v1.ModelService.GetModel": "GET /v1/models/{model}",
    "semserve.v1.ModelService.Tokenize": "POST /v1/tokenize",
    "semserve.v1.ModelService.GetServerInfo": "GET /v1/server",
    "openai.v1.Embeddings.Create": "POST /v1/embeddings",
}
"""HTTP method and path by the full name of the RPC. The body is the request."""
# Errors carry google.rpc.BadRequest and RetryInfo, which the transcoder writes as JSON.
EXTRA = ["openai/v1/embeddings.proto", "google/rpc/error_details.proto"]


def build_http(target: Path) -> None:
    """Write the descriptor set, with all imports."""
    with tempfile.TemporaryDirectory() as scratch:
        plain = Path(scratch, "plain")
        compile_schema(
            f"--descriptor_set_out={plain}", "--include_imports", sources=[*SOURCES, *EXTRA]
        )
        files = descriptor_pb2.FileDescriptorSet.FromString(plain.read_bytes())
    left = dict(RULES)
    for file in files.file:
        for service in file.service:
            for method in service.method:
                rule = left.pop(f"{file.package}.{service.name}.{method.name}", None)
                if rule is not None:
                    _annotate(method, *rule.split(" "))
    if left:
        raise SystemExit(f"{', '.join(left)}: there is no such RPC")
    target.write_bytes(files.SerializeToString(deterministic=True))


def _annotate(method: descriptor_pb2.MethodDescriptorProto, verb: str, path: str) -> None:
    http = method.options.Extensions[annotations_pb2.http]
    if verb == "GET":
        http.get = path
    else:
        http.post, http.body = path, "*"


if __name__ == "__main__":
    build_http(Path(sys.argv[1]))
