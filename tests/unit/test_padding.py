"""The inputs that a session makes of encodings, and what an encoding counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from semserve_server.runtime.encoding import Encoding
from semserve_server.runtime.padding import pad

IDS = st.lists(st.integers(1, 99), max_size=9)


@given(st.lists(IDS, min_size=1, max_size=6), st.booleans(), st.sampled_from([0, 9, 12]))
def test_zeros_stand_at_one_end_and_the_mask_says_where(sequences, start, fixed):
    padded = pad([Encoding(ids, ids, padded_length=fixed) for ids in sequences], start=start)
    width = fixed or max(1, *map(len, sequences))
    for row, ids in enumerate(sequences):
        zeros = [0] * (width - len(ids))
        ones = [1] * len(ids)
        assert (zeros + ids if start else ids + zeros) == padded["token_ids"][row].tolist()
        assert (zeros + ones if start else ones + zeros) == padded["padding_mask"][row].tolist()
    assert {np.dtype(np.int32)} == {value.dtype for value in padded.values()}
    assert "token_ids_right" not in padded


@given(st.lists(st.tuples(IDS, IDS), min_size=1, max_size=5))
def test_two_sequences_are_padded_to_one_length(pairs):
    encodings = [Encoding(left, left, right_ids=right) for left, right in pairs]
    padded = pad(encodings, start=False)
    width = max(1, *(len(ids) for pair in pairs for ids in pair))
    for row, (left, right) in enumerate(pairs):
        assert [*left, *[0] * (width - len(left))] == padded["token_ids"][row].tolist()
        assert [*right, *[0] * (width - len(right))] == padded["token_ids_right"][row].tolist()
        assert len(right) == padded["padding_mask_right"][row].sum()


def test_sides_are_one_number_a_text():
    padded = pad([Encoding([1], [0], side=side) for side in (0, 1, 1)], start=False)
    assert [0, 1, 1] == padded["side"].tolist()


@given(IDS, st.one_of(st.none(), IDS), st.sampled_from([0, 9]))
def test_an_encoding_counts_its_tokens_and_what_a_run_computes(left, right, fixed):
    encoding = Encoding(left, left, right_ids=right, padded_length=fixed)
    sequences = [left] if right is None else [left, right]
    assert sum(map(len, sequences)) == encoding.tokens
    assert max(map(len, sequences)) == encoding.longest
    computed = pad([encoding], start=False)
    ids = [value for name, value in computed.items() if name.startswith("token_ids")]
    assert sum(value.size for value in ids) == len(encoding)


@pytest.mark.parametrize("start", [False, True])
@pytest.mark.parametrize(
    "alone",
    [
        Encoding([5, 6, 7], [0, 0, 1], side=1),
        Encoding([], []),
        Encoding([5, 6], [0, 1], padded_length=4),
        Encoding([5, 6], [0, 0], right_ids=[7]),
    ],
    ids=["one sequence", "no tokens", "a fixed length", "two sequences"],
)
def test_a_batch_of_one_has_the_inputs_that_it_has_as_a_row_of_a_batch(
    alone: Encoding, *, start: bool
) -> None:
    inputs, batch = pad([alone], start=start), pad([alone, alone], start=start)
    assert batch.keys() == inputs.keys()
    for name, values in inputs.items():
        assert batch[name][:1].tolist() == values.tolist()
        assert batch[name].dtype == values.dtype
