"""The temperature makes scores honest, and the error that is reported was not fitted."""

import numpy as np
import pytest
from semserve_export.data.pairs import LabelledPair
from semserve_export.distillation.soft_targets import targets_of
from semserve_export.distillation.temperature_scaling import (
    bins_of,
    calibrate,
    expected_calibration_error,
    first_half,
    fit_temperature,
    softmax,
)
from semserve_export.training.metrics import LabelQuality


@pytest.fixture(scope="module")
def honest():
    """Logits whose scores are the odds that the labels were drawn with."""
    random = np.random.default_rng(8)
    logits = random.normal(0, 1.5, (20_000, 3)).astype(np.float32)
    draws = random.random((len(logits), 1))
    labels = (draws > softmax(logits).cumsum(axis=1)).sum(axis=1).clip(0, 2).astype(np.int64)
    return logits, labels


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_the_temperature_that_was_put_in_is_found(honest, temperature):
    logits, labels = honest
    assert temperature == pytest.approx(fit_temperature(logits * temperature, labels), rel=0.03)


def test_no_other_temperature_has_a_smaller_cross_entropy(honest):
    logits, labels = honest

    def cross_entropy(temperature):
        return -np.log(softmax(logits * 3 / temperature)[np.arange(len(labels)), labels]).mean()

    best = fit_temperature(logits * 3, labels)
    assert cross_entropy(best) < min(cross_entropy(best * 1.02), cross_entropy(best / 1.02))


def test_calibration_takes_the_error_away_and_changes_no_label(honest):
    logits, labels = honest
    half = np.arange(len(labels)) % 2 == 0
    calibration = calibrate(logits * 3, labels, half)
    assert calibration.error_before > 0.1
    assert calibration.error_after < 0.015
    assert sum(one.count for one in calibration.after) == len(labels)


def test_the_halves_judge_each_other(honest):
    """A half whose labels are noise asks for a high temperature: the other is judged by that."""
    logits, labels = honest
    labels, half = labels.copy(), np.arange(len(labels)) < len(labels) // 2
    labels[half] = np.random.default_rng(1).integers(0, 3, half.sum())
    judged = calibrate(logits, labels, half).error_after
    itself = logits[~half] / fit_temperature(logits[~half], labels[~half])
    assert judged > expected_calibration_error(bins_of(itself, labels[~half])) + 0.1


def test_the_error_is_the_mean_gap_of_the_bins():
    logits = np.log(np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]], np.float32))
    bins = bins_of(logits, np.array([0, 1, 0, 0]))
    assert [(2, 0.6, 1.0), (2, 0.9, 0.5)] == [
        (one.count, pytest.approx(one.confidence), one.accuracy) for one in bins
    ]
    assert 0.4 == pytest.approx(expected_calibration_error(bins))


def test_a_premise_is_in_one_half_with_all_its_pairs():
    pairs = [LabelledPair(f"premise {n % 7}", f"{n}", 0) for n in range(40)]
    half = first_half(pairs)
    sides = {pair.premise: set() for pair in pairs}
    for pair, side in zip(pairs, half, strict=True):
        sides[pair.premise].add(bool(side))
    assert all(len(one) == 1 for one in sides.values())
    assert {True, False} == {next(iter(one)) for one in sides.values()}


def test_counts_accuracy_and_f1():
    labels = np.array([0, 0, 0, 1, 1, 2])
    answers = np.array([0, 0, 1, 1, 0, 0])
    quality = LabelQuality.of(np.eye(3, dtype=np.float32)[answers], labels)
    np.testing.assert_array_equal([[2, 1, 0], [1, 1, 0], [1, 0, 0]], quality.confusion)
    assert 0.5 == quality.accuracy
    assert [2 / 4, 1 / 2, 0] == quality.precision
    assert pytest.approx([2 / 3, 1 / 2, 0]) == quality.recall
    assert pytest.approx([2 * 2 / 7, 2 * 1 / 4, 0]) == quality.f1


def test_targets_are_distributions_between_labels_and_teachers():
    labels = np.array([0, 2])
    plain = targets_of(labels, 3, 0.3)
    np.testing.assert_allclose([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]], plain, atol=1e-6)
    teacher = np.log(np.array([[0.2, 0.5, 0.3], [0.6, 0.2, 0.2]], np.float32))
    taught = targets_of(labels, 3, 0.3, [teacher, teacher], 0.5)
    np.testing.assert_allclose((plain + np.exp(teacher)) / 2, taught, atol=1e-6)
