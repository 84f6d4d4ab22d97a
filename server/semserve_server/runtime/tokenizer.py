"""Texts to encodings, with the bundle's tokenizer. Synchronous; callers choose the thread."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from types import TracebackType
from typing import Literal
from weakref import WeakValueDictionary

import tokenizers

from semserve_server.errors import InferenceFailed
from semserve_server.runtime.encoding import Encoding

SPECIAL_TOKENS = (
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]",
    "<pad>", "<unk>", "<s>", "</s>", "<mask>",
)  # fmt: skip
"""Names of the special tokens of BERT and RoBERTa vocabularies."""


class Truncation(enum.Enum):
    """What happens to a text with more tokens than the model's maximum."""

    END = "right"
    START = "left"
    NONE = "none"


PairTruncation = Literal["longest_first", "round_robin", "waterfall"]
"""Which text of a pair loses tokens, where both are in one sequence that is too long.

`longest_first`, of the tokenizers library: the longer text; where both are cut, the odd token stays
in the longer text, and in the second of equal texts. `round_robin`, of KerasHub: the same, but the
odd token stays in the first text. `waterfall`, of KerasHub: the second text; the first text is cut
where it is too long alone.
"""


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of one text, without truncation, special tokens included."""

    tokens: list[str]
    ids: list[int]
    offsets: list[tuple[int, int]]
    """Start and end of each token in the text, in code points; (0, 0) for special tokens."""
    special: list[int]
    """1 for each token that the tokenizer added, such as `[CLS]`, and 0 for a token of the text."""


Item = str | tuple[str, str]
"""A text, or a pair of texts."""


LOCKED_CHARACTERS = 1000
"""Largest text, or pair of texts, that is tokenised while this thread keeps the interpreter lock:
0.25 ms. With a text of 65,536 characters, other threads would wait for 32 ms."""


class ParsedDefinition:
    """A parsed `tokenizer.json`, which takes 4 to 15 MiB."""

    def __init__(self, definition: str) -> None:
        """Parse the definition.

        Raises:
            ValueError: the definition cannot be read.
        """
        try:
            with CONTAINED:
                self.tokenizer = tokenizers.Tokenizer.from_str(definition)
                self.tokenizer.no_padding()
                self.tokenizer.no_truncation()
        except InferenceFailed as error:
            raise ValueError(f"tokenizer.json cannot be read: {error.__cause__}") from error


_parsed: WeakValueDictionary[bytes, ParsedDefinition] = WeakValueDictionary()
"""What is in use, by the SHA-256 of the definition."""


def parsed(definition: str) -> ParsedDefinition:
    """Return the parsed form of a definition, which all models with the same definition share.

    Raises:
        ValueError: the definition cannot be read.
    """
    digest = sha256(definition.encode()).digest()
    found = _parsed.get(digest)
    if found is None:
        found = _parsed[digest] = ParsedDefinition(definition)
    return found


class Tokenizer:
    """A bundle's `tokenizer.json`.

    The Rust objects are never changed after construction, so threads can share them. A change, such
    as switching truncation on, would raise "Already borrowed" on another thread.
    """

    def __init__(
        self,
        definition: str,
        *,
        max_length: int,
        hypothesis_first: bool = False,
        separate: bool = False,
        padded_length: int = 0,
        pair_truncation: PairTruncation = "longest_first",
    ) -> None:
        """Parse the definition.

        Args:
            definition: content of `tokenizer.json`.
            max_length: most tokens of one sequence, special tokens included.
            hypothesis_first: whether the second text of a pair comes first in its encoding.
            separate: whether the texts of a pair are two sequences instead of one.
            padded_length: length to which every sequence is padded; 0 for the longest of a batch.
            pair_truncation: which text of a joined pair is cut.

        Raises:
            ValueError: the definition cannot be read.
        """
        self.max_length = max_length
        """Most tokens of one sequence, special tokens included."""
        self.most_tokens = 2 * max_length if separate else max_length
        """Most tokens of a text or pair."""
        self._hypothesis_first = hypothesis_first
        self._separate = separate
        self._padded_length = padded_length
        self._pair_truncation: PairTruncation = pair_truncation
        self.least_tokens = len(self.blank(0))
        """Tokens that a run computes for a text without tokens, such as padding."""
        self._parsed = parsed(definition)
        self._whole = self._parsed.tokenizer

    def encode(self, items: Sequence[Item], truncation: Truncation) -> list[Encoding]:
        """Encode each item.

        Items that are too long are truncated by the rule. With NONE they keep all tokens, more than
        `max_length`, and the caller refuses them.

        Raises:
            InferenceFailed: the tokenizer failed, which no text should cause.
        """
        if self._hypothesis_first:
            items = [item if isinstance(item, str) else item[::-1] for item in items]
        if self._separate:
            return self._encode_separately(items, truncation)
        return self._encode_jointly(items, truncation)

    def blank(self, length: int) -> Encoding:
        """Create an encoding in the model's format, for measurements.

        Args:
            length: tokens of each sequence, at most `max_length`.
        """
        ids = [0] * length
        right = ids if self._separate else None
        return Encoding(ids, ids, right_ids=right, padded_length=self._padded_length)

    def token(self, index: int) -> str:
        """Return a token of the vocabulary; empty if the index is unknown."""
        return self._whole.id_to_token(index) or ""

    @property
    def vocabulary_size(self) -> int:
        """How many tokens there are; every id is below."""
        return self._whole.get_vocab_size()

    @cached_property
    def longest_token(self) -> int:
        """UTF-8 bytes of the longest token of the vocabulary.

        The first access takes about 30 ms.
        """
        return max((len(token.encode()) for token in self._whole.get_vocab()), default=0)

    @cached_property
    def _special_ids(self) -> frozenset[int]:
        """Ids of the special tokens by their usual names; a bundle may not mark them as special."""
        found = (self._whole.token_to_id(name) for name in SPECIAL_TOKENS)
        return frozenset(one for one in found if one is not None)

    def _encode_jointly(self, items: Sequence[Item], truncation: Truncation) -> list[Encoding]:
        first = _texts_of(items[0]) if items else ("",)
        with CONTAINED:
            if len(items) == 1 and sum(map(len, first)) <= LOCKED_CHARACTERS:
                # Keeps the interpreter lock; to get it back takes longer than to encode the text.
                encoded = [self._whole.encode(*first)]
            else:
                encoded = self._whole.encode_batch_fast(list(items))
        padded = self._padded_length
        encodings = [Encoding(one.ids, one.type_ids, padded_length=padded) for one in encoded]
        if truncation is Truncation.NONE:
            return encodings
        for index, whole in enumerate(encodings):
            if len(whole.token_ids) > self.max_length:
                encodings[index] = self._truncate(items[index], len(whole.token_ids), truncation)
        return encodings

    def _encode_separately(self, items: Sequence[Item], truncation: Truncation) -> list[Encoding]:
        """Encode the texts of each pair as two sequences, each truncated separately."""
        sides = [
            self._encode_jointly([item[place] for item in items], truncation) for place in (0, 1)
        ]
        return [
            replace(
                left,
                right_ids=right.token_ids,
                truncated_tokens=left.truncated_tokens + right.truncated_tokens,
            )
            for left, right in zip(*sides, strict=True)
        ]

    def tokens(self, texts: Sequence[str]) -> list[Tokens]:
        """Return the tokens of each text, without truncation."""
        with CONTAINED:
            encoded = self._whole.encode_batch(list(texts))
        return [
            Tokens(one.tokens, one.ids, one.offsets, one.special_tokens_mask) for one in encoded
        ]

    def decode(self, ids: Sequence[int], *, skip_special: bool) -> str:
        """Return the text of token ids.

        Args:
            ids: ids below `vocabulary_size`.
            skip_special: whether to leave out special tokens.
        """
        if skip_special:
            ids = [one for one in ids if one not in self._special_ids]
        with CONTAINED:
            return self._whole.decode(list(ids), skip_special_tokens=skip_special)

    def _truncate(self, item: Item, whole: int, truncation: Truncation) -> Encoding:
        # Encoding again is the only way to truncate before special tokens are added. Texts of this
        # length are rare and their bytes are limited. A second tokenizer that truncates would do
        # the same, and each tokenizer needs 6 MB.
        texts = _texts_of(item)
        with CONTAINED:
            room = self.max_length - self._whole.num_special_tokens_to_add(len(texts) > 1)
            parts = self._whole.encode_batch_fast(list(texts), add_special_tokens=False)
            kept = _kept([len(part) for part in parts], room, self._pair_truncation)
            for part, size in zip(parts, kept, strict=True):
                # The first call keeps what it cuts off, in parts of `size` tokens, and
                # `post_process` joins each part of one text with each of the other: two texts of
                # 1200 tokens took 186 ms, and take 5. The second call leaves one part of one token.
                part.truncate(size + 1, direction=truncation.value)
                part.truncate(size, direction=truncation.value)
            cut = self._whole.post_process(parts[0], parts[1] if len(parts) > 1 else None)
        dropped = whole - len(cut.ids)
        return Encoding(cut.ids, cut.type_ids, dropped, padded_length=self._padded_length)


def _texts_of(item: Item) -> tuple[str] | tuple[str, str]:
    return (item,) if isinstance(item, str) else item


def _kept(sizes: Sequence[int], room: int, rule: PairTruncation) -> list[int]:
    """Return how many tokens to keep of each text.

    Args:
        sizes: tokens of one text or two, without special tokens.
        room: most tokens of all; the texts have more.
        rule: which text of a pair is cut.
    """
    if len(sizes) == 1:
        return [min(*sizes, room)]
    first, second = sizes
    odd = room % 2 if rule == "round_robin" or first > second else 0
    share = room if rule == "waterfall" else room // 2 + odd
    kept = min(first, max(share, room - second))
    return [kept, min(second, room - kept)]


class _Contained:
    """Converts a panic of the Rust code, which is not an Exception, into an InferenceFailed."""

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise InferenceFailed from error


CONTAINED = _Contained()
