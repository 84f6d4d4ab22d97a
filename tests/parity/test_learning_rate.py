"""The learning rate of a training."""

import numpy as np
from semserve_export.training.learning_rate import WarmupThenLinear


def test_the_rate_rises_then_falls_to_nothing():
    rate = WarmupThenLinear(peak=1.0, warmup=10, steps=110)
    rates = [float(rate(step)) for step in (0, 9, 10, 60, 110)]
    np.testing.assert_allclose(rates, [0.1, 1, 1, 0.5, 0], atol=1e-6)
