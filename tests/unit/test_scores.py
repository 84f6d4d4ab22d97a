"""The arithmetic of scores."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from semserve_server.services.scores import (
    METRICS,
    normalized,
    pair_scores,
    scores,
    sigmoid,
    softmax,
    top,
)

A = np.array([[1, 0], [3, 4]], np.float32)
B = np.array([[0, 2], [6, 8]], np.float32)
matrices = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 5), st.integers(1, 8)),
    elements=st.floats(-100, 100, width=32),
)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("cosine", [[0, 0.6], [0.8, 1]]),
        ("dot", [[0, 6], [8, 50]]),
        ("euclidean", [[-math.sqrt(5), -math.sqrt(89)], [-math.sqrt(13), -5]]),
        ("manhattan", [[math.exp(-3), math.exp(-13)], [math.exp(-5), math.exp(-7)]]),
    ],
)
def test_each_metric_is_its_formula(metric: str, expected: list[list[float]]) -> None:
    np.testing.assert_allclose(scores(A, B, metric), expected, rtol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_pair_scores_are_the_diagonal(metric: str) -> None:
    np.testing.assert_array_equal(np.diag(scores(A, B, metric)), pair_scores(A, B, metric))


@given(matrices)
def test_a_vector_is_most_similar_to_itself(rows: np.ndarray) -> None:
    for metric in ("euclidean", "manhattan"):
        own = scores(rows, rows, metric)
        assert (own.max(axis=1) <= np.diag(own) + 1e-6).all()


def test_a_zero_vector_scores_zero_and_stays_zero() -> None:
    zero = np.zeros((1, 2), np.float32)
    assert 0 == scores(zero, A, "cosine").max()
    assert [[0, 0]] == normalized(zero).tolist()


def test_the_top_is_sorted_and_equal_scores_keep_their_order() -> None:
    assert [2, 0, 3] == top(np.array([1, 0, 5, 1], np.float32), 3).tolist()


@given(matrices)
def test_softmax_sums_to_one(rows: np.ndarray) -> None:
    np.testing.assert_allclose(softmax(rows).sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("x", [-1000, -90, -30, -1, 0, 1, 30, 1000])
def test_the_sigmoid_of_a_logit_is_its_probability_and_never_overflows(x: float) -> None:
    expected = 1 / (1 + math.exp(-x)) if x > -700 else 0
    (row,) = sigmoid(np.array([[x]], np.float32))
    assert expected == pytest.approx(float(row[0]), rel=1e-6, abs=1e-37)
