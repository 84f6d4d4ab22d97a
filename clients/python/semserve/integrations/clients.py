"""The clients of an adapter: one that blocks and one for asyncio, each made by its first call."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from semserve import AsyncClient, Client, InvalidRequest

RankBy = Literal["score_model", "embedding_model"]
"""Whether `Rerank` scores documents with a score model, or `Rank` with an embedding model."""


@dataclass
class Clients:
    """How an adapter reaches the server. It is pickled without its connections.

    Attributes:
        address: of the server, as of `semserve.Client`.
        key: API key, as of `semserve.Client`.
        timeout: seconds that a call may take; `None` for no deadline.
        client: used for blocking calls in place of a new one, for TLS and other options. Without
            `async_client`, asynchronous calls use it on a thread.
        async_client: used for asynchronous calls in place of a new one.
    """

    address: str | None = None
    key: str | None = field(default=None, repr=False)
    timeout: float | None = 30.0
    client: Client | None = None
    async_client: AsyncClient | None = None

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._given = self.client is not None or self.async_client is not None
        if self._given and (self.address is not None or self.key is not None):
            raise ValueError("client: pass either a client or an address and a key, not both")

    def __getstate__(self) -> dict[str, Any]:
        if self._given:
            raise TypeError("client: an adapter with a client of its own cannot be pickled")
        return {"address": self.address, "key": self.key, "timeout": self.timeout}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Call a method of the blocking client.

        Raises:
            ValueError: only an asynchronous client was passed.
            SemserveError: as the method.
        """
        with self._lock:
            if self.client is None:
                if self._given:
                    raise ValueError("client: this adapter has only an async_client: pass both")
                self.client = Client(self.address, key=self.key, timeout=self.timeout)
        return getattr(self.client, method)(*arguments, **_given(options))

    async def call_async(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Call a method of the asynchronous client; of `client` on a thread if only that is given.

        Raises:
            SemserveError: as the method.
        """
        if self._given and self.async_client is None:
            return await asyncio.to_thread(self.call, method, *arguments, **options)
        with self._lock:
            if self.async_client is None:
                self.async_client = AsyncClient(self.address, key=self.key, timeout=self.timeout)
        return await getattr(self.async_client, method)(*arguments, **_given(options))

    def close(self) -> None:
        """Close the blocking client, unless the caller passed it. A later call opens another."""
        with self._lock:
            client = None if self._given else self.client
            if client is not None:
                self.client = None
        if client is not None:
            client.close()

    async def close_async(self) -> None:
        """Close the asynchronous client, unless the caller passed it."""
        with self._lock:
            client = None if self._given else self.async_client
            if client is not None:
                self.async_client = None
        if client is not None:
            await client.close()


def method_of(by: str) -> str:
    """Return the client's method that ranks in this way.

    Raises:
        ValueError: there is no such way.
    """
    methods = {"score_model": "rerank", "embedding_model": "rank"}
    if by not in methods:
        raise ValueError(f'by: {by!r} is unknown: say "score_model" or "embedding_model"')
    return methods[by]


def check_texts(texts: Sequence[str | None], what: str) -> list[str]:
    """Return the texts.

    Raises:
        InvalidRequest: one is missing or empty; `fields` names it.
    """
    empty = {f"{what}[{place}]": "has no text" for place, text in enumerate(texts) if not text}
    if empty:
        message = "; ".join(f"{name}: {why}" for name, why in empty.items())
        raise InvalidRequest(message, fields=empty)
    return [str(text) for text in texts]


@contextlib.contextmanager
def library_of(extra: str) -> Iterator[None]:
    """Import the library of an adapter.

    Raises:
        ModuleNotFoundError: it is not installed; the message names the extra that installs it.
    """
    try:
        yield
    except ModuleNotFoundError as missing:
        advice = f"{missing.name} is not installed: run pip install 'semserve[{extra}]'"
        raise ModuleNotFoundError(advice, name=missing.name) from None


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}
