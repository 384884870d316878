from __future__ import annotations

from pathlib import Path

import pytest

from serving import runtime
from serving.batch_parameters import BatchParameters
from serving.config import ServeConfig


def test_the_default_batches_nothing_and_warms_up_once() -> None:
    made = runtime.from_config(ServeConfig())
    assert (made.tags, made.warmup_rounds, made.batching) == (("serve",), 1, None)


def test_takes_what_the_config_says(tmp_path: Path) -> None:
    path = tmp_path / "batching.config"
    path.write_text('max_batch_size { value: 4 } num_batch_threads { value: 1 } thread_pool_name { value: "p" }')
    config = ServeConfig(
        saved_model_tags="serve,gpu",
        num_request_iterations_for_warmup=3,
        enable_batching=True,
        batching_parameters_file=str(path),
        tensorflow_intra_op_parallelism=2,
    )
    made = runtime.from_config(config)
    assert made.tags == ("serve", "gpu")
    assert made.warmup_rounds == 3
    assert made.batching is not None
    assert made.batching.parameters == BatchParameters(4, num_batch_threads=1, thread_pool_name="p")
    assert made.session.intra_op_parallelism_threads == 2
    assert made.session.inter_op_parallelism_threads == 0
    made.stop()


def test_warmup_can_be_left_out() -> None:
    assert runtime.from_config(ServeConfig(enable_model_warmup=False)).warmup_rounds == 0


def test_flags_go_over_the_session_s_file(tmp_path: Path) -> None:
    path = tmp_path / "session.config"
    path.write_text("intra_op_parallelism_threads: 7 inter_op_parallelism_threads: 5")
    config = ServeConfig(tensorflow_session_config_file=str(path), tensorflow_inter_op_parallelism=2)
    session = runtime.from_config(config).session
    assert (session.intra_op_parallelism_threads, session.inter_op_parallelism_threads) == (7, 2)


def test_threads_are_given_in_one_way() -> None:
    config = ServeConfig(tensorflow_session_parallelism=1, tensorflow_intra_op_parallelism=1)
    with pytest.raises(ValueError, match="You cannot configure all."):
        runtime.from_config(config)
