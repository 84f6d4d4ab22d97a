"""semserve: text embeddings, classification and semantic similarity, from Python.

    from semserve import Client

    with Client("127.0.0.1:50051") as client:
        print(client.compare([("The cat sits on the mat.", "A cat is sitting on a mat.")]).scores)

`AsyncClient` does the same with asyncio. `semserve.errors` lists the errors of calls.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from semserve.async_client import AsyncClient
    from semserve.calls.classification import Classification, Classifications
    from semserve.calls.embedding import Embeddings
    from semserve.calls.models import ModelInfo, ServerInfo, Tokens
    from semserve.calls.retrieval import Hit, Ranking, SearchResults
    from semserve.calls.scoring import PairScores
    from semserve.calls.similarity import Scores
    from semserve.calls.sparse import SparseEmbeddings, SparseVector
    from semserve.client import Client
    from semserve.connection.options import CLIENT_TIMEOUT
    from semserve.connection.reply import Timing
    from semserve.connection.retry import Retry
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
    from semserve.requests.values import Usage
    from semserve.requests.work import Answer

# Imported on first access, because the stubs in this package and `semserve --help` need none of
# them.
_MODULES = {
    "CLIENT_TIMEOUT": "connection.options",
    "Answer": "requests.work",
    "AsyncClient": "async_client",
    "Classification": "calls.classification",
    "Classifications": "calls.classification",
    "Client": "client",
    "ClientClosed": "errors",
    "DeadlineExceeded": "errors",
    "Embeddings": "calls.embedding",
    "Hit": "calls.retrieval",
    "InternalError": "errors",
    "InvalidRequest": "errors",
    "ModelInfo": "calls.models",
    "ModelNotFound": "errors",
    "Overloaded": "errors",
    "PairScores": "calls.scoring",
    "PermissionDenied": "errors",
    "Ranking": "calls.retrieval",
    "Retry": "connection.retry",
    "Scores": "calls.similarity",
    "SearchResults": "calls.retrieval",
    "SemserveError": "errors",
    "ServerInfo": "calls.models",
    "SparseEmbeddings": "calls.sparse",
    "SparseVector": "calls.sparse",
    "Timing": "connection.reply",
    "Tokens": "calls.models",
    "Unauthenticated": "errors",
    "Unavailable": "errors",
    "Usage": "requests.values",
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
    if name not in _MODULES:
        raise AttributeError(f"module 'semserve' has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - half of what `import semserve` costs

    return getattr(import_module(f"semserve.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
