import numpy as np
import pytest
import tensorflow as tf

from trainer.loop_config import ScheduledOptimizerConfig
from trainer.schedule import falling


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("linear", [0.01, 0.0055, 0.001, 0.001]), ("exponential", [0.01, 0.01 * 0.1**0.5, 0.001, 0.001]),
     ("cosine", [0.01, 0.0055, 0.001, 0.001])],
)  # fmt: skip
def test_a_rate_falls_from_the_first_step_to_the_last(schedule, expected):
    rate = falling(ScheduledOptimizerConfig("sgd", 0.01, final_rate=0.001, schedule=schedule), 5)
    found = [float(rate(tf.constant(step, tf.int64))) for step in (1, 3, 5, 9)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
