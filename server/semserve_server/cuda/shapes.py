"""Rounds the shapes of batches up to few shapes that recur. Pure.

The first run of each shape is slow on a GPU: ONNX Runtime chooses the kernels of the matrix
products for it, and the arena grows (microsoft/onnxruntime issue 17443). Buffers and CUDA graphs
also have fixed shapes. So a batch is padded to the next larger shape of a fixed set.
"""

from __future__ import annotations

from collections.abc import Iterator

LENGTH_STEPS = ((64, 8), (128, 16), (256, 32), (512, 64))
"""(up to this length, multiples of this): lengths in tokens. Tensor cores work on multiples of
8. At most an eighth of a text of 64 tokens and more is padding that the rounding adds."""
LARGE_STEP = 128
"""Multiple of longer lengths."""
SMALL_BATCH = 4
"""Batches up to this size keep their size; larger ones have four sizes for each doubling, so at
most a fifth of the rows is added: 5, 6, 7, 8, 10, 12, 14, 16, 20, …"""

Shape = tuple[int, int]
"""(batch, sequence)."""


def rounded_length(length: int, *, most: int) -> int:
    """Return the length to pad to: at least `length`, and at most `most` unless it is longer.

    Args:
        length: tokens of the longest text of a batch.
        most: most tokens that the model takes; a model has no positions beyond it.
    """
    step = next((step for limit, step in LENGTH_STEPS if length <= limit), LARGE_STEP)
    return max(min(-(-length // step) * step, most), length)


def rounded_batch(size: int) -> int:
    """Return the number of rows of the batch that holds `size` texts."""
    if size <= SMALL_BATCH:
        return size
    step = max(1 << ((size - 1).bit_length() - 3), 1)
    return -(-size // step) * step


def rounded(shape: Shape, *, most: int) -> Shape:
    """Return the shape that a batch is padded to."""
    return rounded_batch(shape[0]), rounded_length(shape[1], most=most)


def lengths(most: int) -> Iterator[int]:
    """Yield every rounded length of a model, ascending."""
    length = 0
    while length < most:
        length = rounded_length(length + 1, most=most)
        yield length


def usual_shapes(*, most_length: int, most_tokens: int) -> list[Shape]:
    """Return the shapes of full batches and of the batches of 1, 2, 4, 8, … texts, largest first.

    The shape with the most attention scores is first, since these need the most memory: the arena
    has its final size after one run.

    Args:
        most_length: most tokens of a text.
        most_tokens: most padded tokens of a batch; a single text may be longer.
    """
    shapes = set()
    for length in lengths(most_length):
        batch = 1
        while batch * length <= most_tokens:
            shapes.add((batch, length))
            batch *= 2
        full = max(most_tokens // length, 1)
        shapes.add((rounded_batch(full), length))
    return sorted(shapes, key=lambda shape: (shape[0] * shape[1] ** 2, shape), reverse=True)
