import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from feature_store.hashing import uniform


@given(st.text(), st.text())
def test_a_number_in_0_to_1_that_stays(salt, key):
    assert 0 <= uniform(salt, key) < 1
    assert uniform(salt, key) == uniform(salt, key)


def test_the_same_number_on_every_machine():
    assert uniform("salt", "u1") == 0.19557838917416492


def test_keys_spread_evenly_and_two_salts_are_independent():
    a, b = (np.array([uniform(salt, str(user)) for user in range(20_000)]) for salt in ("a", "b"))
    tenths = np.bincount((a * 10).astype(int), minlength=10)
    assert abs(tenths - 2000).max() < 4.5 * np.sqrt(2000 * 0.9)
    assert abs(np.corrcoef(a, b)[0, 1]) < 4.5 / np.sqrt(20_000)
