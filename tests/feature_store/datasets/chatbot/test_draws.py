import numpy as np

from feature_store.datasets.chatbot.draws import choose, ranges


def test_an_id_is_drawn_as_often_as_its_weight_says():
    rng = np.random.default_rng(1)
    drawn = choose(rng, 40_000, (1, 0, 3))
    assert np.allclose(np.bincount(drawn, minlength=4) / 40_000, [0, 0.25, 0, 0.75], atol=0.01)
    rows = choose(rng, 40_000, np.tile([2.0, 0.0, 6.0], (40_000, 1)))
    assert np.allclose(np.bincount(rows, minlength=4) / 40_000, [0, 0.25, 0, 0.75], atol=0.01)


def test_each_row_of_weights_is_its_own():
    weights = np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 5.0]])
    assert choose(np.random.default_rng(1), 3, weights).tolist() == [2, 1, 2]


def test_ranges_one_after_another():
    numbers, offsets = ranges(np.array([3, 7, 5]), np.array([5, 7, 8]))
    assert numbers.tolist() == [3, 4, 5, 6, 7]
    assert offsets.tolist() == [0, 2, 2, 5]
