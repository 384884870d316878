import numpy as np

from feature_store.datasets.chatbot.regions import tilts


def test_what_is_wanted_differs_by_region_and_week():
    """Week 3 has shipping × 1.3, week 5 returns × 1.25; Indonesia (4) shipping × 1.3, Vietnam (5) returns × 1.2."""
    categories, regions = np.array(["membership", "shipping", "returns"]), np.array([1, 4, 5, 5, 4])
    found = tilts(categories, regions, np.array([0, 15, 30, 3, -2]))
    expected = [[1.6, 1, 1], [1, 1.3 * 1.3, 1], [1, 1, 1.2 * 1.25], [1, 1, 1.2], [1, 1.3, 1]]
    np.testing.assert_allclose(found, expected)
