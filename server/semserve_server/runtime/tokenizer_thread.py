"""The thread that tokenises one model's texts, who may wait for it, and in what turns."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from semserve_server.errors import Draining, Overloaded
from semserve_server.runtime.encoding import Encoding
from semserve_server.runtime.tokenizer import Item, Tokenizer, Tokens, Truncation
from semserve_server.runtime.worker_threads import Worker, WorkerThread

CHUNK_CHARACTERS = 32_768
"""Characters that the tokenizer's thread reads at a time, some 10 ms of work. Requests take turns
on it, and one whose caller has left stops there."""
TOKENIZE_SHARE = 16
"""What part of the characters that may wait to be tokenised may be for `tokens`: one in so many."""
SECONDS_PER_CHARACTER = 1e-6
"""What reading a character for `tokens` is taken to cost before any was measured."""

_Read = TypeVar("_Read")
_Item = TypeVar("_Item", bound=Item)


class TokenizerThread:
    """A tokenizer on a thread of its own. Used on the event loop alone."""

    def __init__(self, tokenizer: Tokenizer, name: str, *, max_characters: int) -> None:
        """Make one; its thread starts with the first text.

        Args:
            tokenizer: of the model.
            name: of the model.
            max_characters: most characters that wait to be tokenised for a run.
        """
        self._tokenizer = tokenizer
        self._max_characters = max_characters
        self.worker = Worker(name, "tokenize")
        """The thread, as the watchdog sees it."""
        self._thread = WorkerThread(f"{name}-tokenizer", self.worker)
        self._waiting = 0
        self._tokens_waiting = 0
        self._turn = asyncio.Lock()
        self._seconds_per_character = SECONDS_PER_CHARACTER

    async def encode(self, items: Sequence[Item], truncation: Truncation) -> list[Encoding]:
        """Tokenise texts or pairs that are to run, as long as not too much waits already.

        Raises:
            Overloaded: too much waits.
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
            for part in _parts(items):
                work = partial(self._tokenizer.encode, part, truncation)
                encodings += await self._on_the_thread(work)
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
        """Tell how texts are read, without running the model.

        One caller at a time is served, some texts at a time, so that requests which wait to be
        tokenised for a run wait for no more than that.

        Args:
            texts: at least one.
            convert: called on the tokenizer's thread with the tokens of some of the texts.
            remaining: seconds that the caller still waits; None for ever.

        Returns:
            What `convert` has returned, in the order of the texts.

        Raises:
            Overloaded: too much waits for this, or the answer would come too late.
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
                told = [await self._on_the_thread(partial(read, part)) for part in _parts(texts)]
                self._seconds_per_character = (time.monotonic() - started) / size
                return told
        finally:
            self._tokens_waiting -= size

    def close(self) -> None:
        """Let the thread end after the part that it reads."""
        self._thread.shutdown()

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

    async def _on_the_thread(self, work: Callable[[], _Read]) -> _Read:
        try:
            future = self._thread.submit(work)
        except RuntimeError as error:  # the thread has ended
            raise Draining("the server is stopping") from error
        return await asyncio.wrap_future(future)


def _parts(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    """Cut items into parts of about `CHUNK_CHARACTERS`, each of at least one item."""
    begin = size = 0
    for end, item in enumerate(items, 1):
        size += characters_of((item,))
        if size >= CHUNK_CHARACTERS or end == len(items):
            yield items[begin:end]
            begin, size = end, 0


def characters_of(items: Sequence[Item]) -> int:
    """Count the characters of texts or pairs."""
    return sum(
        len(item) if isinstance(item, str) else len(item[0]) + len(item[1]) for item in items
    )
