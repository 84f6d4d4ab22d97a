"""Texts to encodings, by the bundle's own tokenizer. Synchronous; callers choose the thread."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import tokenizers

from semserve_server.errors import InferenceFailed
from semserve_server.runtime.encoding import Encoding


class Truncation(enum.Enum):
    """What happens to a text of more tokens than the model takes."""

    END = "right"
    START = "left"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Tokens:
    """How one text is read, untruncated, special tokens included."""

    tokens: list[str]
    ids: list[int]
    offsets: list[tuple[int, int]]
    """Start and end of each token in the text, in code points; (0, 0) for special tokens."""


Item = str | tuple[str, str]
"""A text, or a pair of texts."""


class Tokenizer:
    """A bundle's `tokenizer.json`.

    The Rust objects are never changed after construction, so threads may share them: a change,
    such as switching truncation on and off, is what raises "Already borrowed".
    """

    def __init__(self, definition: str, *, max_length: int) -> None:
        """Read the definition.

        Raises:
            ValueError: it is none.
        """
        self.max_length = max_length
        """Most tokens that the model takes, special tokens included."""
        try:
            with _contained():
                self._whole = tokenizers.Tokenizer.from_str(definition)
                self._whole.no_padding()
                self._whole.no_truncation()
        except InferenceFailed as error:
            raise ValueError(f"tokenizer.json cannot be read: {error.__cause__}") from error

    def encode(self, items: Sequence[Item], truncation: Truncation) -> list[Encoding]:
        """Encode each item.

        What is too long is cut by `truncation`; with NONE it comes back whole, longer than
        `max_length`, for the caller to refuse.

        Raises:
            InferenceFailed: the tokenizer itself failed, which no text should make it do.
        """
        with _contained():
            encoded = self._whole.encode_batch_fast(list(items))
        encodings = [Encoding(one.ids, one.type_ids) for one in encoded]
        if truncation is Truncation.NONE:
            return encodings
        for index, whole in enumerate(encodings):
            if len(whole) > self.max_length:
                encodings[index] = self._truncate(items[index], len(whole), truncation)
        return encodings

    def tokens(self, texts: Sequence[str]) -> list[Tokens]:
        """Tell how each text is read, without truncation."""
        with _contained():
            encoded = self._whole.encode_batch(list(texts))
        return [Tokens(one.tokens, one.ids, one.offsets) for one in encoded]

    def _truncate(self, item: Item, whole: int, truncation: Truncation) -> Encoding:
        # Encoding again is the only way to cut before special tokens are added. Texts this long are
        # rare and their bytes are bounded. A tokenizer set to truncate would do the same, and each
        # takes 6 MB.
        texts = (item,) if isinstance(item, str) else item
        with _contained():
            room = self.max_length - self._whole.num_special_tokens_to_add(len(texts) > 1)
            parts = [self._whole.encode(text, add_special_tokens=False) for text in texts]
            for part, size in zip(parts, _kept([len(part) for part in parts], room), strict=True):
                part.truncate(size, direction=truncation.value)
            cut = self._whole.post_process(parts[0], parts[1] if len(parts) > 1 else None)
        return Encoding(cut.ids, cut.type_ids, truncated_tokens=whole - len(cut.ids))


def _kept(sizes: Sequence[int], room: int) -> list[int]:
    """Tell how many tokens of each text stay: of a pair the longer one gives way, then both.

    As `longest_first` of the tokenizers library, which gives the odd token to the longer text.

    Args:
        sizes: tokens of one text or two, without special ones.
        room: most tokens of all.
    """
    if len(sizes) == 1:
        return [min(*sizes, room)]
    shorter = min(*sizes, room // 2)
    both = [shorter, min(max(sizes), room - shorter)]
    return both if sizes[0] <= sizes[1] else both[::-1]


@contextmanager
def _contained() -> Iterator[None]:
    """Turn a panic of the Rust code, which is no Exception, into an error that is."""
    try:
        yield
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise InferenceFailed from error
        raise
