"""The real server, as `make install` puts it beside the export stage, over exported bundles."""

import contextlib
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import grpc
import numpy as np
import pytest
from semserve.v1 import (
    embedding_pb2,
    embedding_pb2_grpc,
    score_pb2,
    score_pb2_grpc,
    similarity_pb2,
    similarity_pb2_grpc,
)

Items = Sequence[str] | Sequence[tuple[str, str]]
SERVER = Path(__file__).parents[2] / ".venv" / "bin" / "semserve-server"


@contextlib.contextmanager
def serving(models):
    """Start the server over a directory of bundles; gives the address that it listens on."""
    if not SERVER.is_file():
        pytest.skip("the server is not installed beside the export stage: make install")
    process = subprocess.Popen(
        [SERVER, "--models", str(models), "--address", "127.0.0.1:0", "--intra-op-threads", "1"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        output = []
        for line in process.stderr:
            output.append(line)
            if "serving on " in line:
                yield line.split("serving on ")[1].split(": ")[0]
                break
        else:
            raise AssertionError("".join(output))
    finally:
        process.terminate()
        process.communicate(timeout=30)


class Stubs:
    """Calls without the client: one channel, whose answers become arrays."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.insecure_channel(address)
        self._scores = score_pb2_grpc.ScoreServiceStub(self._channel)
        self._similarities = similarity_pb2_grpc.SimilarityServiceStub(self._channel)
        self._embeddings = embedding_pb2_grpc.EmbeddingServiceStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def score(self, items: Items, model: str) -> np.ndarray:
        """One number for each text or pair: [items]."""
        if isinstance(items[0], str):
            request = score_pb2.ScoreRequest(model=model, texts=items)
        else:
            pairs = [score_pb2.ScorePair(left=left, right=right) for left, right in items]
            request = score_pb2.ScoreRequest(model=model, pairs=pairs)
        return np.array(self._scores.Score(request).scores)

    def rerank(self, query: str, documents: Sequence[str], model: str) -> list[tuple[int, float]]:
        """The documents' places and scores, best first."""
        request = score_pb2.RerankRequest(model=model, query=query, documents=documents)
        return [(hit.index, hit.score) for hit in self._scores.Rerank(request).hits]

    def compare(self, pairs: Sequence[tuple[str, str]], model: str) -> np.ndarray:
        """The similarity of each pair: [pairs]."""
        compared = [similarity_pb2.ComparePair(left=left, right=right) for left, right in pairs]
        request = similarity_pb2.CompareRequest(model=model, pairs=compared)
        return np.array(self._similarities.Compare(request).scores)

    def embed(self, texts: Sequence[str], model: str, **more: Any) -> np.ndarray:
        """Vectors, [texts, dimensions]."""
        request = embedding_pb2.EmbedRequest(model=model, texts=texts, **more)
        results = self._embeddings.Embed(request).results
        return np.array([list(one.embedding.values) for one in results])

    def embed_sparse(
        self, texts: Sequence[str], model: str, columns: int, **more: Any
    ) -> np.ndarray:
        """Sparse vectors with their zeros, [texts, columns]."""
        request = embedding_pb2.EmbedSparseRequest(model=model, texts=texts, **more)
        rows = np.zeros((len(texts), columns))
        for row, one in zip(rows, self._embeddings.EmbedSparse(request).results, strict=True):
            row[list(one.indices)] = one.values
        return rows
