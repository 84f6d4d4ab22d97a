"""Batches of encoded pairs: every pair once an epoch, beside others of about its length."""

import numpy as np
from semserve_export.data.batching import EncodedPairs
from semserve_export.model_spec import INPUTS
from semserve_export.tokenizers.bert_wordpiece import Encoding


def test_an_epoch_has_every_row_once_in_batches_of_like_length():
    random = np.random.default_rng(1)
    lengths = random.integers(3, 90, 1003)
    rows = EncodedPairs([Encoding([0] * n, [0] * n) for n in lengths], np.zeros(1003, int), INPUTS)
    batches = rows.shuffled(32, random)
    assert list(range(1003)) == sorted(np.concatenate(batches).tolist())
    assert {32, 1003 % 32} == {len(batch) for batch in batches}
    spread = np.mean([np.ptp(lengths[batch]) for batch in batches])
    assert spread < 10, "a random batch of these would spread over more than 80"


def test_columns_are_few_different_numbers():
    rows = EncodedPairs([Encoding([5] * n, [0] * n) for n in (3, 17)], np.zeros(2, int), INPUTS)
    assert (1, 8) == rows.inputs(np.array([0]))["token_ids"].shape
    assert (2, 24) == rows.inputs(np.array([0, 1]))["token_ids"].shape
