"""semserve: semantic similarity as a service, from Python.

    from semserve import Client

    with Client("127.0.0.1:50051") as client:
        print(client.compare([("The cat sits on the mat.", "A cat is sitting on a mat.")]).scores)

`AsyncClient` does the same for asyncio. What a call may raise stands in `semserve.errors`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from semserve.aio import AsyncClient
    from semserve.classification import Classification, Classifications
    from semserve.client import Client
    from semserve.embedding import Embeddings
    from semserve.errors import (
        ClientClosed,
        DeadlineExceeded,
        InternalError,
        InvalidRequest,
        ModelNotFound,
        Overloaded,
        PermissionDenied,
        SemserveError,
        Unauthenticated,
        Unavailable,
    )
    from semserve.models import ModelInfo, ServerInfo, Tokens
    from semserve.options import CLIENT_TIMEOUT
    from semserve.reply import Timing
    from semserve.retrieval import Hit, Ranking, SearchResults
    from semserve.retry import Retry
    from semserve.scoring import PairScores
    from semserve.similarity import Scores
    from semserve.sparse import SparseEmbeddings, SparseVector
    from semserve.values import Usage
    from semserve.work import Answer

# Imported when first asked for: the stubs beside this file, and `semserve --help`, need none.
_HOMES = {
    "CLIENT_TIMEOUT": "options",
    "Answer": "work",
    "AsyncClient": "aio",
    "Classification": "classification",
    "Classifications": "classification",
    "Client": "client",
    "ClientClosed": "errors",
    "DeadlineExceeded": "errors",
    "Embeddings": "embedding",
    "Hit": "retrieval",
    "InternalError": "errors",
    "InvalidRequest": "errors",
    "ModelInfo": "models",
    "ModelNotFound": "errors",
    "Overloaded": "errors",
    "PairScores": "scoring",
    "PermissionDenied": "errors",
    "Ranking": "retrieval",
    "Retry": "retry",
    "Scores": "similarity",
    "SearchResults": "retrieval",
    "SemserveError": "errors",
    "ServerInfo": "models",
    "SparseEmbeddings": "sparse",
    "SparseVector": "sparse",
    "Timing": "reply",
    "Tokens": "models",
    "Unauthenticated": "errors",
    "Unavailable": "errors",
    "Usage": "values",
}

__all__ = [
    "CLIENT_TIMEOUT",
    "Answer",
    "AsyncClient",
    "Classification",
    "Classifications",
    "Client",
    "ClientClosed",
    "DeadlineExceeded",
    "Embeddings",
    "Hit",
    "InternalError",
    "InvalidRequest",
    "ModelInfo",
    "ModelNotFound",
    "Overloaded",
    "PairScores",
    "PermissionDenied",
    "Ranking",
    "Retry",
    "Scores",
    "SearchResults",
    "SemserveError",
    "ServerInfo",
    "SparseEmbeddings",
    "SparseVector",
    "Timing",
    "Tokens",
    "Unauthenticated",
    "Unavailable",
    "Usage",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'semserve' has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - half of what `import semserve` costs

    return getattr(import_module(f"semserve.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
