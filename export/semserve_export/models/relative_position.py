"""Buckets of relative positions, as T5 and MPNet number them.

Source: Raffel et al. 2020, "Exploring the Limits of Transfer Learning with a Unified Text-to-Text
Transformer", section 2.1; MPNet (Song et al. 2020) uses the same buckets in both directions.
"""

import numpy as np
import numpy.typing as npt

LAST_BUCKET_DISTANCE = 128  # tokens; this distance and all larger ones share the last bucket


def bucket_of(distance: int, buckets: int) -> int:
    """Return the bucket of `distance = position attended to - position that attends`.

    One half of the buckets is for tokens at or before the attending one, the other half for those
    after it. In each half, the first half has one bucket a distance; the rest grow by a constant
    ratio up to `LAST_BUCKET_DISTANCE`.
    """
    side = buckets // 2
    offset, steps = (side if distance > 0 else 0), abs(distance)
    exact = side // 2
    if steps < exact:
        return offset + steps
    growth = np.log(steps / exact) / np.log(LAST_BUCKET_DISTANCE / exact)
    # In float64 the logarithm of a bucket's first distance may fall short of a whole number by one
    # unit in the last place; the definition, in exact numbers, does not.
    grown = int(growth * (side - exact) + 1e-9)
    return offset + min(exact + grown, side - 1)


def bucket_table(positions: int, buckets: int) -> npt.NDArray[np.int32]:
    """Return the bucket of every distance from `1 - positions` to `positions - 1`, in that order.

    The result is int32 [2 x positions - 1]; distance d stands at index `d + positions - 1`.
    """
    distances = range(1 - positions, positions)
    return np.array([bucket_of(distance, buckets) for distance in distances], np.int32)
