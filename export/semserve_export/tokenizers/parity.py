"""Compares tokenizer.json with KerasHub's tokenizer on texts, and explains each difference.

The reference is the tf.data graph in which `fit` and `predict` tokenise strings; called on a
string, KerasHub runs Python code that splits BPE differently. Each text with different ids is
reduced to the shortest part that still differs, and this part determines the cause.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import tensorflow as tf
from tokenizers import Tokenizer

from semserve_export.tokenizers.parity_causes import UNEXPLAINED, cause_of

FILE = "tokenizer_parity.json"
SCHEMA_VERSION = 1
BATCH = 512
EXAMPLES = 100  # number of examples in a report, the shortest of each cause first

Ids = list[int]
Read = Callable[[Sequence[str]], list[Ids]]


@dataclass(frozen=True, slots=True)
class TokenDifference:
    """A text with different ids, of which no shorter part differs."""

    text: str
    cause: str
    keras_hub: Ids
    ours: Ids


@dataclass(frozen=True, slots=True)
class Parity:
    """The result of a comparison."""

    texts: int
    differing: int
    causes: dict[str, int]  # number of compared texts
    examples: tuple[TokenDifference, ...]

    @property
    def unexplained(self) -> int:
        """The number of texts that differ without a known cause."""
        return self.causes.get(UNEXPLAINED, 0)

    def as_json(self) -> dict[str, Any]:
        """Return the content of `tokenizer_parity.json`."""
        return {"schema_version": SCHEMA_VERSION, **asdict(self)}

    def __str__(self) -> str:
        causes = ", ".join(f"{cause}: {count}" for cause, count in self.causes.items())
        return (
            f"{self.differing} of {self.texts} odd texts are tokenised otherwise than by KerasHub"
            f"{f' ({causes})' if causes else ''}"
        )


def compare_tokenizers(
    original: Any, exported: Tokenizer, texts: Iterable[str], *, read: Read | None = None
) -> Parity:
    """Compare a KerasHub tokenizer with ours, without special tokens.

    Args:
        original: a `keras_hub.tokenizers.Tokenizer`.
        exported: what was built from it.
        texts: any texts; empty ones are skipped.
        read: what `in_graph` made of `original`, where that is done: it takes seconds.
    """
    read_keras, read_exported = read or in_graph(original), _without_specials(exported)
    counted, total = Counter[str](), 0
    found: dict[str, TokenDifference] = {}
    for batch in _batches(texts):
        total += len(batch)
        for text, one, other in zip(batch, read_keras(batch), read_exported(batch), strict=True):
            if one != other:
                difference = _reduced(text, read_keras, read_exported, original, exported)
                counted[difference.cause] += 1
                found.setdefault(difference.text, difference)
    examples = _of_each_cause(found.values())
    return Parity(total, counted.total(), dict(counted.most_common()), examples)


def in_graph(original: Any) -> Read:
    """Return a function from texts to lists of ids, as in `fit` and `predict`."""
    signature = [tf.TensorSpec([None], tf.string)]
    traced = tf.function(original.tokenize, input_signature=signature)

    def read(texts: Sequence[str]) -> list[Ids]:
        ids: list[Ids] = traced(tf.constant(list(texts))).to_list()
        return ids

    return read


def _without_specials(exported: Tokenizer) -> Read:
    return lambda texts: [
        list(one.ids) for one in exported.encode_batch_fast(list(texts), add_special_tokens=False)
    ]


def _of_each_cause(found: Iterable[TokenDifference]) -> tuple[TokenDifference, ...]:
    """Choose `EXAMPLES` differences: the shortest of each cause, then the next ones."""
    ranks, ranked = Counter[str](), []
    for each in sorted(found, key=lambda one: (len(one.text), one.text)):
        ranked.append((ranks[each.cause], each))
        ranks[each.cause] += 1
    ranked.sort(key=lambda pair: pair[0])
    return tuple(each for _, each in ranked[:EXAMPLES])


def _reduced(text: str, read_keras: Read, read_exported: Read, *tokenizers: Any) -> TokenDifference:
    """Remove smaller and smaller runs of characters while the rest still differs."""
    size = max(1, len(text) // 2)
    while True:
        shorter = [text[:start] + text[start + size :] for start in range(0, len(text), size)]
        shorter = [each for each in shorter if each]
        odd = [
            each for each, one, other in _read(shorter, read_keras, read_exported) if one != other
        ]
        if odd:
            text = odd[0]
        elif size == 1:
            break
        size = max(1, min(size if odd else size // 2, len(text) // 2))
    ((_, one, other),) = _read([text], read_keras, read_exported)
    return TokenDifference(text, cause_of(text, one, other, *tokenizers), one, other)


def _read(texts: list[str], read_keras: Read, read_exported: Read) -> list[tuple[str, Ids, Ids]]:
    return list(zip(texts, read_keras(texts), read_exported(texts), strict=True)) if texts else []


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    left = (text for text in texts if text)
    while batch := list(islice(left, BATCH)):
        yield batch
