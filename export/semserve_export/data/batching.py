"""Tokenised pairs, and batches of pairs of similar length."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from semserve_export.data.pairs import LabelledPair, Pair
from semserve_export.model_spec import INPUTS, PairTruncation
from semserve_export.tokenizers.bert_wordpiece import Encoding, Inputs, encode, pad

Indices = npt.NDArray[np.int64]
LENGTH_STEP = 8  # batches are padded to a multiple of it, so that few shapes are traced
UNLABELLED = -1
POOL_BATCHES = 50  # batches that are sorted by length together; their order stays shuffled


@dataclass(frozen=True, slots=True)
class EncodedPairs:
    """Tokenised pairs and their labels, int64 [len(encodings)], or `UNLABELLED`."""

    encodings: Sequence[Encoding]
    labels: Indices
    names: Sequence[str]  # the inputs of the model

    @classmethod
    def of(
        cls,
        tokenizer: Tokenizer,
        pairs: Sequence[Pair],
        max_tokens: int,
        names: Sequence[str] = INPUTS,
        pair_truncation: PairTruncation = "longest_first",
    ) -> Self:
        """Tokenise pairs or single texts, cut to `max_tokens`."""
        texts = [pair.premise if pair.single else (pair.premise, pair.hypothesis) for pair in pairs]
        labels = [pair.label if isinstance(pair, LabelledPair) else UNLABELLED for pair in pairs]
        encodings = encode(tokenizer, texts, max_tokens, pair_truncation=pair_truncation)
        return cls(encodings, np.array(labels, np.int64), names)

    def __len__(self) -> int:
        return len(self.encodings)

    def first(self, count: int) -> "EncodedPairs":
        """Return the first `count` pairs, or all if there are fewer."""
        return EncodedPairs(self.encodings[:count], self.labels[:count], self.names)

    def inputs(self, rows: Indices) -> Inputs:
        """Stack the given rows, padded to the next multiple of `LENGTH_STEP`."""
        encodings = [self.encodings[row] for row in rows]
        columns = math.ceil(max(map(len, encodings)) / LENGTH_STEP) * LENGTH_STEP
        inputs = pad(encodings, columns)
        return {name: inputs[name] for name in self.names}

    def by_length(self, batch_size: int) -> list[Indices]:
        """Split all rows into batches, sorted by length: the fastest order for a measurement."""
        return split_every(np.argsort(self._lengths(), kind="stable"), batch_size)

    def shuffled(self, batch_size: int, random: np.random.Generator) -> list[Indices]:
        """Split all rows of an epoch into batches of similar length, in random order."""
        lengths = self._lengths()
        pools = split_every(random.permutation(len(self)), POOL_BATCHES * batch_size)
        batches = [
            batch
            for pool in pools
            for batch in split_every(pool[np.argsort(lengths[pool], kind="stable")], batch_size)
        ]
        return [batches[place] for place in random.permutation(len(batches))]

    def _lengths(self) -> Indices:
        return np.array([len(encoding) for encoding in self.encodings], np.int64)


def split_every(rows: Indices, size: int) -> list[Indices]:
    """Split rows into parts of `size`; only the last may be shorter, and none is empty."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]
