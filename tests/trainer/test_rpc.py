import signal
import threading
import time

import pytest
import tensorflow as tf

from trainer import rpc, train
from trainer.config import CocoConfig, LinkConfig, ModelConfig, TrainConfig


def test_training_waits_for_a_side_process_that_stays_away_says_so_and_ends(shop, side_process, tmp_path, capfd):
    side = side_process(dtype="float32")
    coco, llm = CocoConfig(enabled=True, codes=8, selected=2), LinkConfig(side.address, 2.0, 1.0)
    config = TrainConfig(batch=16, epochs=1000, model=ModelConfig(d=8, blocks=1, max_length=10), coco=coco, llm=llm)

    def lost():
        while not list(tmp_path.glob("checkpoints/ckpt-*/state.json")):
            time.sleep(0.1)
        side.end(signal.SIGKILL)

    threading.Thread(target=lost).start()
    told = f"^llm.address: {side.address} could not be reached for ([2-9]|[1-9][0-9])\\.[0-9] s [^\n]*$"
    with pytest.raises(ConnectionError, match=told):
        train.run(shop / "examples", None, tmp_path, config)
    assert f"the language model at {side.address} does not answer; waiting up to 2 s" in capfd.readouterr().err


@pytest.mark.parametrize(
    "said, told",
    [
        ("Graph error:\n\nassertion failed: [llm.address: a:1 could not be reached for 2.0 s (forward: [x])]\n"
         "\t [[node Assert]]", "llm.address: a:1 could not be reached for 2.0 s (forward: [x])"),
        ("assertion failed: [the language model at a:1 refused forward: row 3]",
         "the language model at a:1 refused forward: row 3"),
    ],
)  # fmt: skip
def test_of_a_graph_s_error_what_the_call_said_is_left(said, told):
    error = rpc.told(tf.errors.InvalidArgumentError(None, None, said))
    assert isinstance(error, ConnectionError) and str(error) == told


def test_another_error_of_a_graph_is_none_of_a_call():
    assert rpc.told(tf.errors.InvalidArgumentError(None, None, "assertion failed: [NaN]")) is None
