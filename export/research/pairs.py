"""Packed pairs on a device: batches of like length, put together there from tokenised texts."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

PADDING, START, END = 0, 1, 2  # packed ids
STEP = 8  # batches are padded to a multiple of this many tokens
POOL = 40  # batches that are sorted by length together
LONGEST = 96  # tokens; of a longer pair the texts are cut, each to its share


class Pairs:
    """Pairs of texts, two numbers each, and their labels (-1 where there is none).

    Args:
        arrays: what `read_packed` gave.
        name: of the set.
        device: where the batches are made.
        most: how many pairs at most; all where None.
    """

    def __init__(
        self, arrays: Mapping[str, Any], name: str, device: torch.device, most: int | None = None
    ) -> None:
        lengths = arrays["data/lengths"].astype(np.int64)
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        self.a, self.b, self.label = (
            np.asarray(arrays[f"data/{name}/{part}"])[:most].astype(np.int64)
            for part in ("a", "b", "label")
        )
        first, second = lengths[self.a], lengths[self.b]
        room = LONGEST - 4
        half, whole = room // 2, first + second <= room
        # As `longest_first` does: a text that is shorter than half of the room is kept whole.
        first_cut = np.where(whole, first, np.minimum(first, np.maximum(half, room - second)))
        second_cut = np.where(whole, second, np.minimum(second, room - first_cut))
        self.lengths = first_cut + second_cut + 4
        self.device = device
        self._tokens = torch.from_numpy(arrays["data/tokens"].astype(np.int32)).to(device)
        columns = (starts[self.a], first_cut, starts[self.b], second_cut)
        self._columns = torch.from_numpy(np.stack(columns, 1)).to(device)

    def __len__(self) -> int:
        return len(self.a)

    def batch(self, rows: np.ndarray, ends: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return ids, segments and which are real, each [rows, tokens].

        Args:
            rows: of the pairs.
            ends: how many marks stand between the two texts: 1 in BERT, 2 in MPNet.
        """
        tokens = -(-int(self.lengths[rows].max()) // STEP) * STEP
        picked = torch.from_numpy(rows).to(self.device, non_blocking=True)
        a, la, b, lb = self._columns[picked].T[:, :, None]
        place = torch.arange(tokens, device=self.device)[None, :]
        second = place - la - 1 - ends  # the place in the second text
        source = torch.where(second < 0, a + place - 1, b + second)
        in_first = (place > 0) & (place <= la)
        in_second = (second >= 0) & (second < lb)
        text = in_first | in_second
        real = second <= lb
        ids = self._tokens[torch.where(text, source, 0)].long()
        ids = torch.where(text, ids, torch.where(place == 0, START, END))
        ids = torch.where(real, ids, PADDING)
        return ids, ((second >= 0) & real).long(), real

    def shuffled(self, size: int, random: np.random.Generator) -> Iterator[np.ndarray]:
        """Give one epoch's batches of like length in random order."""
        order = random.permutation(len(self))
        batches = []
        for start in range(0, len(order), POOL * size):
            pool = order[start : start + POOL * size]
            pool = pool[np.argsort(self.lengths[pool], kind="stable")]
            batches += [pool[at : at + size] for at in range(0, len(pool), size)]
        for place in random.permutation(len(batches)):
            yield batches[place]

    def by_length(self, size: int) -> Iterator[np.ndarray]:
        """Give every pair once, shortest first."""
        order = np.argsort(self.lengths, kind="stable")
        yield from (order[at : at + size] for at in range(0, len(order), size))
