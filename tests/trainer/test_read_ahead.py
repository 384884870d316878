import numpy as np
import pytest
import tensorflow as tf

from trainer.config import LossConfig, TrainConfig
from trainer.layers.tables import EmbeddingTable, zeros
from trainer.optimizers import SGD
from trainer.read_ahead import read_ahead
from trainer.step import Step


@pytest.mark.parametrize("shards", [1, 2])
def test_a_step_sees_its_rows_as_they_were_before_the_last_update(shards):
    """Every step subtracts 1 from the rows it reads, so a row's value is the number of updates it has seen."""
    table = EmbeddingTable("t", 4, 1, zeros(), devices=(None,) * shards)
    batches = [[0, 1], [0], [0, 2, 0], [1, 0], [2]]

    @tf.function
    def unit():
        seen, ahead = [], read_ahead({table: tf.constant(batches[0])})
        for k in range(len(batches)):
            following = read_ahead({table: tf.constant(batches[k + 1])}) if k + 1 < len(batches) else {}
            with Step(tf.constant(k + 1, tf.int64), ahead=ahead) as step:
                _, rows, (places,) = step.rows(table, tf.constant(batches[k]))
                loss = tf.reduce_sum(rows)
            step.update(loss, SGD(learning_rate=1.0))
            seen.append(-tf.gather(rows, places)[:, 0])
            ahead = following
        return seen

    # Before steps 1 to 5, row 0 was updated 0, 1, 2, 3, 4 times; each step misses the last one.
    assert [values.numpy().tolist() for values in unit()] == [[0, 0], [0], [1, 0, 1], [1, 2], [1]]
    assert (-table.whole().numpy()[:, 0]).tolist() == [4, 2, 2, 0]  # no update is lost
    # A second unit begins with the rows as all of the first left them.
    assert [values.numpy().tolist() for values in unit()][:2] == [[4, 2], [4]]


def test_only_rows_are_read_ahead():
    table = EmbeddingTable("t", 4, 2, zeros())
    assert read_ahead({table: None}) == {}
    distinct, rows = read_ahead({table: tf.constant([3, 1, 3])})["t"]
    assert distinct.numpy().tolist() == [1, 3]
    np.testing.assert_array_equal(rows, np.zeros((2, 2)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "working_set must be 'off' with prefetch, received 'auto'"),
        ({"working_set": "off"}, "loss.kind must read some rows with prefetch, received 'softmax'"),
    ],
)
def test_it_is_refused_where_it_would_do_nothing(settings, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(prefetch=True, **settings)
    TrainConfig(prefetch=True, working_set="off", loss=LossConfig("in_batch"))
