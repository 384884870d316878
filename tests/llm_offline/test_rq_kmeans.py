import numpy as np
import pytest

from llm_offline.profile_config import GroupConfig
from llm_offline.rq_kmeans import assign, fit

# Two far clusters, each of two near ones: what a first level and a second level of two centroids must find.
POINTS = np.array([[10, 1], [10, -1], [-10, 1], [-10, -1]], np.float32)


def cloud(size=40):
    return POINTS[np.arange(size) % 4] + np.random.default_rng(0).normal(0, 0.01, (size, 2)).astype(np.float32)


def test_levels_find_the_coarse_and_then_the_fine_clusters():
    levels = fit(cloud(), GroupConfig(levels=2, k=2, sample=40))
    assert sorted(np.round(levels[0]).tolist()) == [[-10, 0], [10, 0]]
    assert sorted(np.round(levels[1]).tolist()) == [[0, -1], [0, 1]]
    codes = assign(levels, POINTS).codes
    assert len({tuple(row) for row in codes.tolist()}) == 4
    assert codes[0, 0] == codes[1, 0] != codes[2, 0] == codes[3, 0]


def test_codes_and_errors_are_those_of_the_equations():
    draw = np.random.default_rng(1)
    levels = draw.normal(size=(3, 5, 4)).astype(np.float32)
    vectors = draw.normal(size=(50, 4)).astype(np.float32)
    found = assign(levels, vectors)
    left = vectors.astype(np.float64)
    errors = [(left**2).sum()]
    for level in range(3):
        nearest = ((left[:, None] - levels[level]) ** 2).sum(-1).argmin(1)
        assert (found.codes[:, level] == nearest).all()
        left -= levels[level][nearest]
        errors.append((left**2).sum())
    assert found.errors == pytest.approx(errors, rel=1e-5)


def test_the_same_vectors_give_the_same_centroids_and_another_seed_others():
    vectors = np.random.default_rng(2).normal(size=(100, 6)).astype(np.float32)
    configs = [GroupConfig(levels=2, k=4, seed=seed, sample=100, iterations=3) for seed in (1, 1, 2)]
    one, two, other = (fit(vectors, config) for config in configs)
    assert (one == two).all()
    assert (one != other).any()


def test_each_level_leaves_less():
    vectors = np.random.default_rng(3).normal(size=(100, 6)).astype(np.float32)
    errors = assign(fit(vectors, GroupConfig(levels=3, k=8, sample=100, iterations=3)), vectors).errors
    assert (np.diff(errors) < 0).all()


def test_fewer_vectors_than_centroids_are_told():
    with pytest.raises(ValueError, match=r"groups.k must be at most the users it learns from \(4\), received 5"):
        fit(POINTS, GroupConfig(levels=1, k=5))
