import numpy as np
import tensorflow as tf

from feature_store.knowledge_shards import Statistics
from trainer.layers.adapter import LinearAdapter


def test_it_centres_scales_and_projects():
    layer = LinearAdapter(2, Statistics(np.array([1.0, 2.0, 3.0], np.float32), 0.5))
    layer.build(3)
    layer.kernel.assign([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    found = layer(tf.constant([[[1.0, 2.0, 4.0], [2.0, 0.0, 3.0]]]))  # 2 (x − c): (0, 0, 2) and (2, −4, 0)
    assert found.numpy().tolist() == [[[2.0, 2.0], [2.0, -4.0]]]
    assert {variable.name.split(":")[0] for variable in layer.trainable_variables} == {"centre", "scale", "kernel"}


def test_without_statistics_it_begins_as_a_plain_projection():
    layer = LinearAdapter(1)
    layer.build(2)
    layer.kernel.assign([[1.0], [10.0]])
    assert layer(tf.constant([[3.0, 4.0]])).numpy().tolist() == [[43.0]]
