"""Pairs as a teacher with word-pieces and a learner with byte-level pieces read them."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

LONGEST = 96  # pieces of a pair for the learner
STEP = 4  # batches are padded to a multiple of this many tokens
POOL = 40  # batches that are sorted by length together
START, PADDING, END = 0, 1, 2  # the learner's ids
THEIR_START, THEIR_END, THEIR_PADDING = 101, 102, 0
LABELLED_SHARE = 0.25  # of each pool of pairs


class Both:
    """Pairs as the teacher and the learner read them."""

    def __init__(self, arrays: Mapping[str, Any], name: str) -> None:
        self.a, self.b, self.label = (
            np.asarray(arrays[f"data/{name}/{part}"]).astype(np.int64)
            for part in ("a", "b", "label")
        )
        self.sizes = {s: arrays[f"data/{s}_lengths"].astype(np.int64) for s in ("ours", "theirs")}
        self.starts = {s: np.concatenate([[0], np.cumsum(n)[:-1]]) for s, n in self.sizes.items()}
        self.tokens = {s: arrays[f"data/{s}"] for s in ("ours", "theirs", "mates")}
        self.lengths = self.sizes["ours"][self.a] + self.sizes["ours"][self.b] + 4

    def __len__(self) -> int:
        return len(self.a)

    def learners(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ids and which are real, each [rows, tokens]."""
        width = min(LONGEST, -(-int(self.lengths[rows].max()) // STEP) * STEP)
        ids = np.full((len(rows), width), PADDING, np.int64)
        for out, row in zip(ids, rows, strict=True):
            first, second = self._cut(row)
            line = [START, *self._text("ours", self.a[row], first), END, END]
            line += [*self._text("ours", self.b[row], second), END]
            out[: len(line)] = line
        return torch.from_numpy(ids), torch.from_numpy(ids != PADDING)

    def teachers(
        self, rows: np.ndarray, width: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return ids, segments and which are real, and each learner's token's mate or -1."""
        lines, segments = [], []
        mates = np.full((len(rows), width), -1, np.int64)
        for place, row in enumerate(rows):
            first, second = self._cut(row)
            a = self._text("theirs", self.a[row], LONGEST)
            b = self._text("theirs", self.b[row], LONGEST)
            lines.append([THEIR_START, *a, THEIR_END, *b, THEIR_END])
            segments.append([0] * (len(a) + 2) + [1] * (len(b) + 1))
            mates[place, 0] = 0
            self._mate(mates[place], self.a[row], first, 1, 1, len(a))
            self._mate(mates[place], self.b[row], second, first + 3, len(a) + 2, len(b))
        longest = -(-max(map(len, lines)) // STEP) * STEP
        ids = np.full((len(rows), longest), THEIR_PADDING, np.int64)
        parts = np.zeros_like(ids)
        for place, (line, part) in enumerate(zip(lines, segments, strict=True)):
            ids[place, : len(line)], parts[place, : len(line)] = line, part
        real = ids != THEIR_PADDING
        from_numpy = torch.from_numpy
        return from_numpy(ids), from_numpy(parts), from_numpy(real), from_numpy(mates)

    def _cut(self, row: int) -> tuple[int, int]:
        """Cut both texts to the room as `longest_first` does."""
        room = LONGEST - 4
        first, second = (int(self.sizes["ours"][side[row]]) for side in (self.a, self.b))
        if first + second > room:
            first = min(first, max(room // 2, room - second))
            second = min(second, room - first)
        return first, second

    def _text(self, side: str, text: int, most: int) -> np.ndarray:
        start = self.starts[side][text]
        return self.tokens[side][start : start + min(most, int(self.sizes[side][text]))]

    def _mate(
        self, out: np.ndarray, text: int, count: int, ours: int, theirs: int, most: int
    ) -> None:
        start = self.starts["ours"][text]
        mates = self.tokens["mates"][start : start + count].astype(np.int64)
        out[ours : ours + count] = np.where(mates < most, mates + theirs, -1)

    def shuffled(self, size: int, random: np.random.Generator) -> Iterator[np.ndarray]:
        """Give batches of like length without end; labelled pairs are a share of every pool."""
        labelled, new = np.flatnonzero(self.label >= 0), np.flatnonzero(self.label < 0)
        queues = [_endless(labelled, random), _endless(new, random)]
        known = int(POOL * size * LABELLED_SHARE)
        while True:
            counts = (known, POOL * size - known) if len(new) else (POOL * size, 0)
            pool = np.array(
                [next(q) for q, n in zip(queues, counts, strict=True) for _ in range(n)]
            )
            pool = pool[np.argsort(self.lengths[pool], kind="stable")]
            batches = pool.reshape(-1, size)
            yield from batches[random.permutation(len(batches))]

    def by_length(self, size: int, most: int | None = None) -> Iterator[np.ndarray]:
        """Give every pair once, shortest first."""
        order = np.argsort(self.lengths[:most], kind="stable")
        yield from (order[at : at + size] for at in range(0, len(order), size))


def _endless(rows: np.ndarray, random: np.random.Generator) -> Iterator[int]:
    while True:
        yield from rows[random.permutation(len(rows))]


def joined(arrays: Mapping[str, Any]) -> Both:
    """Return the labelled pairs and the unlabelled ones behind them as one set."""
    parts = {
        f"data/all/{part}": np.concatenate(
            [arrays[f"data/{name}/{part}"] for name in ("labelled", "unlabelled")]
        )
        for part in ("a", "b", "label")
    }
    return Both({**arrays, **parts}, "all")
