import numpy as np
import tensorflow as tf

from trainer.config import ModelConfig
from trainer.masking import MASKED
from trainer.models.s3rec import S3Rec


def test_one_set_of_weights_looks_back_in_use_and_both_ways_in_the_tasks():
    model = S3Rec(ModelConfig("s3rec", d=8, max_length=4, attributes=("categories",)))
    model.build((None, 4, 8))
    x, mask = np.random.default_rng(0).normal(size=(1, 4, 8)).astype("f4"), tf.ones((1, 4), tf.bool)
    changed = x.copy()
    changed[:, 3] += 1.0
    np.testing.assert_array_equal(model(tf.constant(x), mask)[:, :3], model(tf.constant(changed), mask)[:, :3])
    both = [model.context(tf.constant(part), mask)[:, 0].numpy() for part in (x, changed)]
    assert (both[0] != both[1]).any()
    hidden = model.hide(tf.constant(x), tf.constant([[1, MASKED, 2, 3]]))
    np.testing.assert_array_equal(hidden[0, 1], model.mask_vector[0])
