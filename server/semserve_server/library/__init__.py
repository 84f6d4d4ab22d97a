"""Use of the engine inside a Python program, without gRPC."""

from semserve_server.library.async_model import AsyncModel, Classifications
from semserve_server.library.model import Model
from semserve_server.library.opening import open_async_model, open_model

__all__ = ["AsyncModel", "Classifications", "Model", "open_async_model", "open_model"]
