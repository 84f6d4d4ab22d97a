"""Pads encodings to the inputs of a graph. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from semserve_server.runtime.encoding import Encoding

PER_TEXT = frozenset({"side"})
"""Inputs with one number for each text, [batch]; every other input is [batch, sequence]."""


def padded_shape(encodings: Sequence[Encoding]) -> tuple[int, int]:
    """Return (batch, sequence): the number of encodings, and the length that all are padded to.

    Args:
        encodings: at least one.
    """
    longest = max(encoding.padded_length or encoding.longest for encoding in encodings)
    return len(encodings), max(longest, 1)


def pad(
    encodings: Sequence[Encoding], *, start: bool, shape: tuple[int, int] | None = None
) -> dict[str, NDArray[np.int32]]:
    """Create every possible input of a graph: int32 [batch, sequence], 0 for padding.

    Args:
        encodings: at least one.
        start: whether padding precedes the tokens.
        shape: the shape to pad to, at least `padded_shape`; `padded_shape` if None. A row beyond
            the encodings has one token with the id 0, so that no mean divides by 0.
    """
    if shape is None and len(encodings) == 1 and _needs_no_padding(encodings[0]):
        return _alone(encodings[0])
    shape = shape or padded_shape(encodings)
    token_ids = [one.token_ids for one in encodings]
    mask = _mask(token_ids, shape, start=start)
    feeds = {
        "token_ids": _padded(token_ids, mask),
        "padding_mask": _with_blanks(mask, len(encodings), start=start),
        "segment_ids": _padded([one.segment_ids for one in encodings], mask),
        "side": np.zeros(shape[0], np.int32),
    }
    feeds["side"][: len(encodings)] = [one.side for one in encodings]
    right = [one.right_ids for one in encodings if one.right_ids is not None]
    if right:
        mask = _mask(right, shape, start=start)
        feeds["token_ids_right"] = _padded(right, mask)
        feeds["padding_mask_right"] = _with_blanks(mask, len(right), start=start)
    return feeds


def _needs_no_padding(encoding: Encoding) -> bool:
    """Return whether an encoding alone in its batch has one sequence, not empty, as it is."""
    return bool(encoding.token_ids) and encoding.right_ids is None and not encoding.padded_length


def _alone(encoding: Encoding) -> dict[str, NDArray[np.int32]]:
    """Create the inputs of a batch of one, as `pad` does.

    The general way takes 57 us for a lone text, as each run drives its code from the CPU's caches.
    This takes 23 us.
    """
    token_ids = np.array([encoding.token_ids], np.int32)
    return {
        "token_ids": token_ids,
        "padding_mask": np.ones(token_ids.shape, np.int32),
        "segment_ids": np.array([encoding.segment_ids], np.int32),
        "side": np.array([encoding.side], np.int32),
    }


def _mask(
    sequences: Sequence[list[int]], shape: tuple[int, int], *, start: bool
) -> NDArray[np.bool_]:
    """Return where the tokens of sequences are; nowhere in rows beyond them."""
    rows = len(sequences)
    lengths = np.fromiter(map(len, sequences), np.int64, rows)[:, None]
    places = np.arange(shape[1])
    mask = np.zeros(shape, np.bool_)
    mask[:rows] = places >= shape[1] - lengths if start else places < lengths
    return mask


def _padded(sequences: Sequence[list[int]], mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return sequences padded with 0."""
    padded = np.zeros(mask.shape, np.int32)
    padded[mask] = np.fromiter(chain.from_iterable(sequences), np.int32)
    return padded


def _with_blanks(mask: NDArray[np.bool_], rows: int, *, start: bool) -> NDArray[np.int32]:
    """Return a mask as numbers, with one token in each row beyond the first `rows`."""
    numbers = mask.astype(np.int32)
    numbers[rows:, -1 if start else 0] = 1
    return numbers
