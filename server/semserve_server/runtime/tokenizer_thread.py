"""The threads that tokenise the texts of one model, and their queue."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import cycle, islice
from typing import TypeVar

from semserve_server.errors import Draining, Overloaded
from semserve_server.runtime.encoding import Encoding
from semserve_server.runtime.tokenizer import Item, Tokenizer, Tokens, Truncation
from semserve_server.runtime.worker_threads import Worker, WorkerThread

CHUNK_CHARACTERS = 32_768
"""Characters that a thread tokenises at a time, about 10 ms of work. Requests take turns, and
a request whose caller has cancelled stops between two chunks."""
SHARED_CHUNK_CHARACTERS = 4_096
"""Characters of a chunk where several threads share the chunks of a request."""
TOKENIZE_SHARE = 16
"""The Tokenize RPC may use 1/16 of the characters that may wait to be tokenised."""
SECONDS_PER_CHARACTER = 1e-6
"""Assumed cost of a character of a Tokenize request before the first measurement."""

_Read = TypeVar("_Read")
_Item = TypeVar("_Item", bound=Item)


class TokenizerThread:
    """A tokenizer with separate threads, one by default. Used only on the event loop."""

    def __init__(
        self, tokenizer: Tokenizer, name: str, *, max_characters: int, threads: int = 1
    ) -> None:
        """Create the threads. Each starts with its first text.

        Args:
            tokenizer: the model's tokenizer.
            name: the model's name.
            max_characters: most characters that may wait to be tokenised for inference.
            threads: number of threads; several share the chunks of a request.
        """
        self._tokenizer = tokenizer
        self._max_characters = max_characters
        self.workers = tuple(Worker(name, "tokenize") for _ in range(threads))
        """The states of the threads, for the watchdog."""
        self._threads = cycle(
            [
                WorkerThread(f"{name}-tokenizer{n or ''}", worker)
                for n, worker in enumerate(self.workers)
            ]
        )
        self._waiting = 0
        self._tokens_waiting = 0
        self._turn = asyncio.Lock()
        self._seconds_per_character = SECONDS_PER_CHARACTER

    async def encode(self, items: Sequence[Item], truncation: Truncation) -> list[Encoding]:
        """Tokenise texts or pairs for inference.

        Raises:
            Overloaded: too many characters wait.
            Draining: the thread has ended.
        """
        size = characters_of(items)
        if self._waiting and self._waiting + size > self._max_characters:
            raise Overloaded(
                f"{self._waiting} characters wait to be tokenised, "
                f"at most {self._max_characters} may",
                retry_after=0.1,
                cause="queue_characters",
            )
        self._waiting += size
        encodings: list[Encoding] = []
        try:
            for group in self._groups(items):
                done = [
                    self._on_a_thread(partial(self._tokenizer.encode, part, truncation))
                    for part in group
                ]
                for encoded in await asyncio.gather(*done):
                    encodings += encoded
        finally:
            self._waiting -= size
        return encodings

    async def tokens(
        self,
        texts: Sequence[str],
        convert: Callable[[list[Tokens]], _Read],
        *,
        remaining: float | None,
    ) -> list[_Read]:
        """Tokenise texts for the Tokenize RPC, without running the model.

        Callers are served one at a time, in chunks, so that requests for inference wait for one
        chunk at most.

        Args:
            texts: at least one.
            convert: called on the tokenizer thread with the tokens of some of the texts.
            remaining: seconds until the caller's deadline; None without a deadline.

        Returns:
            The results of `convert`, in the order of the texts.

        Raises:
            Overloaded: too many characters wait, or the reply would miss the deadline.
            Draining: the thread has ended.
        """

        def read(part: Sequence[str]) -> _Read:
            return convert(self._tokenizer.tokens(part))

        size = characters_of(texts)
        self._expect_tokens(size, float("inf") if remaining is None else remaining)
        self._tokens_waiting += size
        try:
            async with self._turn:
                started = time.monotonic()
                results = [await self._on_a_thread(partial(read, part)) for part in _parts(texts)]
                self._seconds_per_character = (time.monotonic() - started) / size
                return results
        finally:
            self._tokens_waiting -= size

    async def decode(
        self, ids: Sequence[int], *, skip_special: bool, remaining: float | None
    ) -> str:
        """Return the text of token ids. Waits its turn with `tokens`; an id counts as a character.

        Raises:
            Overloaded, Draining: as `tokens`.
        """
        size = len(ids)
        self._expect_tokens(size, float("inf") if remaining is None else remaining)
        self._tokens_waiting += size
        try:
            async with self._turn:
                work = partial(self._tokenizer.decode, ids, skip_special=skip_special)
                return await self._on_a_thread(work)
        finally:
            self._tokens_waiting -= size

    def close(self) -> None:
        """Let each thread end after its present chunk."""
        for _ in self.workers:
            next(self._threads).shutdown()

    def _groups(self, items: Sequence[Item]) -> Iterator[list[Sequence[Item]]]:
        """Split items into groups of chunks that are tokenised at the same time."""
        threads = len(self.workers)
        parts = _parts(items, CHUNK_CHARACTERS if threads == 1 else SHARED_CHUNK_CHARACTERS)
        while group := list(islice(parts, threads)):
            yield group

    def _expect_tokens(self, size: int, seconds: float) -> None:
        most = self._max_characters // TOKENIZE_SHARE
        ahead = self._tokens_waiting * self._seconds_per_character
        if self._tokens_waiting and self._tokens_waiting + size > most:
            raise Overloaded(
                f"{self._tokens_waiting} characters wait to be tokenised for Tokenize, "
                f"at most {most} may",
                retry_after=ahead / 2,
                cause="queue_characters",
            )
        if self._tokens_waiting and ahead > seconds:
            raise Overloaded(
                f"Tokenize would begin in {ahead:.3f} s and the deadline is in {seconds:.3f} s",
                retry_after=ahead - seconds,
                cause="deadline",
            )

    async def _on_a_thread(self, work: Callable[[], _Read]) -> _Read:
        try:
            future = next(self._threads).submit(work)
        except RuntimeError as error:  # the thread has ended
            raise Draining("the server is stopping") from error
        return await asyncio.wrap_future(future)


def _parts(items: Sequence[_Item], characters: int = CHUNK_CHARACTERS) -> Iterator[Sequence[_Item]]:
    """Split items into chunks of about so many characters, each of at least one item."""
    begin = size = 0
    for end, item in enumerate(items, 1):
        size += characters_of((item,))
        if size >= characters or end == len(items):
            yield items[begin:end]
            begin, size = end, 0


def characters_of(items: Sequence[Item]) -> int:
    """Count the characters of texts or pairs."""
    return sum(
        len(item) if isinstance(item, str) else len(item[0]) + len(item[1]) for item in items
    )
