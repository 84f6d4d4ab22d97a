"""Use of the engine inside a Python program, without gRPC."""

from semserve_server.library.async_model import AsyncModel, Classifications
from semserve_server.library.model import Model
from semserve_server.library.opening import open_async_model, open_model
from semserve_server.runtime.sparse import SparseRow

__all__ = [
    "AsyncModel",
    "Classifications",
    "Model",
    "SparseRow",
    "open_async_model",
    "open_model",
]
