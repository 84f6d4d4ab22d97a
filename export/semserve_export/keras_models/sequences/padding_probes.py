"""Runs a model on padded random ids, to find whether padding changes its answers."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from semserve_export.bundle.tolerance import TOLERANCE, Rows, scaled_difference
from semserve_export.errors import WeightsError
from semserve_export.keras_models.id_model import IdModel
from semserve_export.keras_models.sequences.sequence_format import SequenceFormat

TRIALS, LONGEST_TRIAL, SEED = 8, 24, 11
PROBED_PADDING = (1, 5, 17)


def ignores_padding(model: IdModel, ids: int, pad_id: int, limit: int | None = None) -> bool:
    """Return whether padding at the end does not change the answers of a model of any length.

    Args:
        model: the model.
        ids: number of ids.
        pad_id: id of the padding.
        limit: maximum length of a sequence including padding, if the model has one.

    Raises:
        WeightsError: the model cannot run on token ids.
    """
    rows = list(_random_rows(ids, pad_id, min(LONGEST_TRIAL, limit or LONGEST_TRIAL)))
    longest = max(rows, key=lambda row: int(row.shape[1]))
    model.predict(longest, np.ones_like(longest))  # raises if the model takes something else
    for row in rows:
        expected = _answer(model, row, pad_id)
        for columns in PROBED_PADDING:
            added = columns if limit is None else min(columns, limit - row.shape[1])
            padded = np.pad(row, ((0, 0), (0, added)), constant_values=pad_id)
            answer = _answer(model, padded, pad_id)
            if expected is None or answer is None:
                return False
            if not scaled_difference(answer, expected) <= TOLERANCE:
                return False
    return True


def depends_on_side(model: IdModel, ids: int, sequences: SequenceFormat) -> bool:
    """Return whether a model of one length answers differently if padding is at the start."""
    length = sequences.length or min(LONGEST_TRIAL, sequences.max_tokens)
    pad_id = sequences.pad_id
    for row in _random_rows(ids, pad_id, max(1, min(LONGEST_TRIAL, length - 1))):
        room = (0, length - row.shape[1])
        post, pre = (
            np.pad(row, ((0, 0), side), constant_values=pad_id) for side in (room, room[::-1])
        )
        expected, answer = (model.predict(rows, rows != pad_id) for rows in (post, pre))
        if not scaled_difference(answer, expected) <= TOLERANCE:
            return True
    return False


def _random_rows(ids: int, pad_id: int, longest: int) -> Iterator[Any]:
    """Yield rows without padding, int32 [1, tokens], of 1 to `longest` tokens."""
    random = np.random.default_rng(SEED)
    for _ in range(TRIALS):
        row = random.integers(0, ids, (1, int(random.integers(1, longest + 1))), np.int32)
        yield np.where(row == pad_id, (pad_id + 1) % max(ids, 2), row).astype(np.int32)


def _answer(model: IdModel, row: Any, pad_id: int) -> Rows | None:
    """Run a model on a row that may be too short; None if the run fails."""
    try:
        return model.predict(row, (row != pad_id).astype(np.int32))
    except WeightsError:
        return None
