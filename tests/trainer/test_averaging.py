import numpy as np
import pytest
import tf_keras

from trainer.averaging import SLOT, WeightAverage
from trainer.layers import tables
from trainer.layers.flat import FlatWeights, weight_shapes


@pytest.mark.parametrize("shards", [1, 2])
def test_the_average_of_three_epochs_by_hand(shards):
    model = tf_keras.Sequential([tf_keras.layers.Dense(1, use_bias=False)])
    model.build((None, 2))
    dense = FlatWeights(model)
    table = tables.EmbeddingTable("item", 3, 1, tables.zeros(), devices=(None,) * shards)
    average = WeightAverage([table], dense, 0.5)
    for epoch, value in enumerate([2.0, 4.0, 8.0], 1):
        table.assign(np.full((3, 1), value))
        dense.load(dense.variables, np.full(2, -value, np.float32))
        average.update(epoch)
    # 2, then (2 + 4) / 2 = 3, then (3 + 8) / 2 = 5.5
    np.testing.assert_array_equal(table.whole(SLOT), np.full((3, 1), 5.5))
    np.testing.assert_array_equal(table.whole(), np.full((3, 1), 8.0))
    np.testing.assert_array_equal(dense.values(dense.slots[SLOT]), [-5.5, -5.5])
    dense.pull(SLOT)
    np.testing.assert_array_equal(model.layers[0].kernel, [[-5.5], [-5.5]])


class Two(tf_keras.Model):
    def __init__(self):
        super().__init__()
        self.one, self.two = tf_keras.layers.Dense(1, use_bias=False), tf_keras.layers.Dense(1)
        for layer in (self.one, self.two):
            layer.build((None, 2))
        self.built = True


def test_weights_that_are_used_as_trained_are_not_averaged():
    dense = FlatWeights(Two())
    average = WeightAverage([], dense, 0.5, ["two.kernel", "two.bias"])
    for epoch, value in enumerate([2.0, 4.0], 1):
        dense.load(dense.variables, np.full(5, value, np.float32))
        average.update(epoch)
    dense.pull(SLOT)
    means = [variable.numpy().ravel().tolist() for variable in dense.model.variables]
    assert list(weight_shapes(dense.model)) == ["one.kernel", "two.kernel", "two.bias"]
    assert means == [[3.0, 3.0], [4.0, 4.0], [4.0]]
