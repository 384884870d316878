import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.layers import tables
from trainer.layers.tables import EmbeddingTable, normal, uniform, zeros


@given(st.integers(1, 5), st.integers(5, 40), st.data())
@settings(deadline=None, max_examples=25)
def test_a_lookup_reads_the_rows_whatever_the_shards(shards, rows, data):
    table = EmbeddingTable("t", rows, 3, zeros(), devices=(None,) * shards)
    matrix = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)
    table.assign(matrix)
    ids = data.draw(st.lists(st.integers(0, rows - 1), unique=True))
    np.testing.assert_array_equal(table.lookup(tf.constant(ids, tf.int64)), matrix[ids])
    np.testing.assert_array_equal(table.whole(), matrix)


def test_row_i_is_row_i_over_n_of_shard_i_mod_n():
    table = EmbeddingTable("t", 5, 1, zeros(), devices=(None, None))
    table.assign(np.arange(5, dtype=np.float32)[:, None])
    assert [shard.numpy().ravel().tolist() for shard in table.shards] == [[0, 2, 4], [1, 3]]


@pytest.mark.parametrize("initializer", [normal(1.0), uniform(0.5)])
def test_initial_values_do_not_depend_on_shards_or_blocks(initializer, monkeypatch):
    monkeypatch.setattr(tables, "BLOCK_ROWS", 4)
    one, three = (EmbeddingTable("t", 11, 2, initializer, 7, (None,) * n) for n in (1, 3))
    np.testing.assert_array_equal(one.whole(), three.whole())
    assert len(np.unique(one.whole())) == 22


def test_uniform_stays_within_its_limit():
    values = EmbeddingTable("t", 500, 2, uniform(0.5)).whole().numpy()
    assert -0.5 <= values.min() < -0.4 and 0.4 < values.max() < 0.5


def test_blocks_are_the_matrix_in_order(monkeypatch):
    monkeypatch.setattr(tables, "BLOCK_ROWS", 4)
    table = EmbeddingTable("t", 10, 2, normal(1.0), devices=(None,) * 3)
    firsts, values = zip(*table.blocks(table.shards), strict=True)
    assert firsts == (0, 4, 8)
    np.testing.assert_array_equal(np.concatenate(values), table.whole())


def test_a_slot_stands_beside_every_shard():
    table = EmbeddingTable("t", 5, 2, zeros(), devices=(None, None))
    table.add_slot("m", 0.5)
    assert [slot.numpy().tolist() for slot in table.slots["m"]] == [[[0.5, 0.5]] * 3, [[0.5, 0.5]] * 2]
    with pytest.raises(ValueError, match="'t' already has a slot 'm'"):
        table.add_slot("m", 0.0)


@pytest.mark.parametrize(
    ("rows", "width", "message"),
    [
        (1, 2, r"rows must be at least the number of shards \(2\), got 1"),
        (4, 0, "width must be positive, got 0"),
    ],
)
def test_a_wrong_shape_is_named(rows, width, message):
    with pytest.raises(ValueError, match=message):
        EmbeddingTable("t", rows, width, zeros(), devices=(None, None))


def test_a_matrix_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"expected \(3, 2\), got \(2, 3\)"):
        EmbeddingTable("t", 3, 2, zeros()).assign(np.zeros((2, 3), np.float32))
