import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from trainer.layers.spread import MAX_ROWS, Spread, shuffled


def spread(rows, ids):
    return shuffled(tf.constant(ids, tf.int64), *Spread.of(rows)).numpy()


@given(st.integers(1, 3000))
def test_it_is_a_bijection_of_the_ids(rows):
    assert sorted(spread(rows, range(rows))) == list(range(rows))


def test_it_by_hand():
    assert Spread.of(10) == (7, 4)  # 7 · 0.618 = 4.3
    assert spread(10, [0, 1, 2, 3, 6, 7, 9, -1]).tolist() == [0, 4, 1, 5, 3, 7, 9, -1]


def test_the_largest_table_does_not_overflow():
    prime, factor = Spread.of(MAX_ROWS)
    assert prime == 2**31 - 1
    assert spread(MAX_ROWS, [prime - 1, MAX_ROWS - 1]).tolist() == [(prime - 1) * factor % prime, MAX_ROWS - 1]


@pytest.mark.parametrize("servers", [2, 3, 4, 8])
@pytest.mark.parametrize("rows", [2**16, 10**6, 999_983])
@pytest.mark.parametrize("step", [1, 2, 3, 4, 8, 64])
def test_popular_ids_at_any_step_fall_on_all_servers_alike(rows, servers, step):
    popular = spread(rows, range(0, 800 * step, step))
    held = np.bincount(popular % servers, minlength=servers)
    assert held.max() <= 1.1 * held.mean()
