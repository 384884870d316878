"""Logits made into probabilities that hold."""

import numpy as np
import pytest

from trainer.calibration import fit


def test_a_known_distortion_is_undone():
    random = np.random.default_rng(0)
    z = random.normal(-2, 1.5, 200_000)
    labels = (random.random(len(z)) < 1 / (1 + np.exp(-z))).astype(float)
    found = fit(2 * z + 1, labels)  # σ(z) = σ((2 z + 1) / 2 − 1 / 2)
    assert found.scale == pytest.approx(0.5, abs=0.01) and found.shift == pytest.approx(-0.5, abs=0.03)
    assert found.probability(2 * z + 1).mean() == pytest.approx(labels.mean(), rel=1e-3)


def test_scores_that_part_the_labels_keep_a_finite_scale_and_a_wrong_order_is_kept():
    parted = fit(np.array([-1.0, -2.0, 1.0, 2.0]), np.array([0.0, 0, 1, 1]))
    assert 0 < parted.scale < 10
    turned = fit(np.array([-1.0, -2.0, 1.0, 2.0]), np.array([1.0, 1, 0, 0]))
    assert turned.scale == 1 and turned.probability(np.zeros(1))[0] == pytest.approx(0.5)
