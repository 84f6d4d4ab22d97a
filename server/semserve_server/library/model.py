"""A model for programs with threads. It runs an event loop on a separate thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import AbstractAsyncContextManager
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from semserve_server.errors import Draining
from semserve_server.library.async_model import AsyncModel, Classifications
from semserve_server.library.loaded_model import CLOSED
from semserve_server.runtime.sparse import SparseRow

_Result = TypeVar("_Result")


class Model:
    """One model. Any thread may call it, and calls of several threads share batches.

    The methods, their arguments and their errors are those of `AsyncModel`; each waits for its
    result. Each thread is a caller, and callers share the runs fairly. In a program that uses
    asyncio, use `open_async_model`: these methods would block the event loop.
    """

    def __init__(self, opening: Callable[[], AbstractAsyncContextManager[AsyncModel]]) -> None:
        """Start the thread, and wait until the model is loaded.

        Args:
            opening: opens the model on the event loop of the thread.
        """
        self._closed = False
        self._lock = threading.Lock()
        started: Future[_Running] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(_live(opening, started)), name="semserve-model", daemon=True
        )
        self._thread.start()
        try:
            self._running = started.result()
        except Exception:
            self._thread.join()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Model {self.name}: {self.task} on {self.provider}>"

    @property
    def name(self) -> str:
        """The model's name."""
        return self._running.model.name

    @property
    def task(self) -> str:
        """The task of the bundle: `embedding`, `classification`, `score` or `sparse_embedding`."""
        return self._running.model.task

    @property
    def provider(self) -> str:
        """ONNX Runtime's execution provider that runs the model."""
        return self._running.model.provider

    @property
    def variant(self) -> str:
        """The graph that runs, such as `fused`."""
        return self._running.model.variant

    @property
    def outputs(self) -> int:
        """Dimensions of a vector, number of labels, 1 score, or size of the vocabulary."""
        return self._running.model.outputs

    def embed(
        self,
        texts: Sequence[str],
        *,
        dimensions: int | None = None,
        normalize: bool | None = None,
        prompt_name: str | None = None,
        side: str | None = None,
        truncation: str | None = None,
        timeout: float | None = None,
    ) -> NDArray[np.float32]:
        """Return the vectors of texts, float32 [texts, dimensions], as `AsyncModel.embed`."""
        return self._call(
            lambda model, caller: model.embed(
                texts,
                dimensions=dimensions,
                normalize=normalize,
                prompt_name=prompt_name,
                side=side,
                truncation=truncation,
                timeout=timeout,
                caller=caller,
            )
        )

    def classify(
        self,
        pairs: Sequence[str | tuple[str, str]],
        *,
        truncation: str | None = None,
        timeout: float | None = None,
    ) -> Classifications:
        """Return the labels of pairs (premise, hypothesis) or texts, as `AsyncModel.classify`."""
        return self._call(
            lambda model, caller: model.classify(
                pairs, truncation=truncation, timeout=timeout, caller=caller
            )
        )

    def score(
        self,
        pairs: Sequence[str | tuple[str, str]],
        *,
        truncation: str | None = None,
        timeout: float | None = None,
    ) -> NDArray[np.float32]:
        """Return the scores of pairs or texts, float32 [pairs], as `AsyncModel.score`."""
        return self._call(
            lambda model, caller: model.score(
                pairs, truncation=truncation, timeout=timeout, caller=caller
            )
        )

    def embed_sparse(
        self,
        texts: Sequence[str],
        *,
        top_k: int | None = None,
        prompt_name: str | None = None,
        truncation: str | None = None,
        timeout: float | None = None,
    ) -> list[SparseRow]:
        """Return the sparse vectors of texts, as `AsyncModel.embed_sparse`."""
        return self._call(
            lambda model, caller: model.embed_sparse(
                texts,
                top_k=top_k,
                prompt_name=prompt_name,
                truncation=truncation,
                timeout=timeout,
                caller=caller,
            )
        )

    def similarity(
        self,
        left: Sequence[str],
        right: Sequence[str] | None = None,
        *,
        metric: str | None = None,
        prompt_name: str | None = None,
        right_prompt_name: str | None = None,
        timeout: float | None = None,
    ) -> NDArray[np.float32]:
        """Return the scores, float32 [left, right], as `AsyncModel.similarity`."""
        return self._call(
            lambda model, caller: model.similarity(
                left,
                right,
                metric=metric,
                prompt_name=prompt_name,
                right_prompt_name=right_prompt_name,
                timeout=timeout,
                caller=caller,
            )
        )

    def close(self) -> None:
        """Refuse new calls, wait for those in progress, and end the threads."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._running.loop.call_soon_threadsafe(self._running.closing.set)
        self._thread.join()

    def _call(self, work: Callable[[AsyncModel, str], Coroutine[Any, Any, _Result]]) -> _Result:
        """Run a call on the event loop, and wait for its result.

        Raises:
            Draining: the model is closed.
        """
        running, caller = self._running, f"thread {threading.get_ident()}"
        with self._lock:
            if self._closed:
                raise Draining(CLOSED)
            future = asyncio.run_coroutine_threadsafe(work(running.model, caller), running.loop)
        try:
            return future.result()
        except CancelledError:  # `close` did not wait longer
            raise Draining(CLOSED) from None
        finally:
            future.cancel()  # only an interrupted wait leaves it unfinished


class _Running:
    """A loaded model, and the event loop that it runs on."""

    def __init__(self, model: AsyncModel) -> None:
        self.model = model
        self.loop = asyncio.get_running_loop()
        self.closing = asyncio.Event()


async def _live(
    opening: Callable[[], AbstractAsyncContextManager[AsyncModel]], started: Future[_Running]
) -> None:
    """Open the model, report it, and close it on request."""
    try:
        async with opening() as model:
            running = _Running(model)
            started.set_result(running)
            await running.closing.wait()
    except BaseException as error:
        if started.done():
            raise
        started.set_exception(error)
