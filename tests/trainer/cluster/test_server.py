import pytest

from trainer.cluster.server import session_config


@pytest.mark.parametrize(("index", "gpus", "device"), [(0, 1, "0"), (3, 1, "0"), (1, 4, "1"), (5, 4, "1")])
def test_a_worker_takes_one_gpu_and_its_memory_as_it_needs_it(index, gpus, device):
    options = session_config("worker", index, gpus, peers=2)
    assert options.gpu_options.visible_device_list == device
    assert options.gpu_options.allow_growth


def test_a_worker_without_a_gpu_asks_for_none():
    options = session_config("worker", 0, 0, peers=2)
    assert not options.gpu_options.visible_device_list and not options.gpu_options.allow_growth


def test_a_parameter_server_takes_no_gpu_where_there_are_some():
    assert session_config("ps", 0, 4, peers=2).device_count["GPU"] == 0
    assert "GPU" in session_config("ps", 0, 4, peers=2).device_count


def test_every_peer_s_call_may_hold_a_thread():
    options = session_config("ps", 0, 0, peers=300, threads=3)
    assert options.inter_op_parallelism_threads >= 301
    assert options.intra_op_parallelism_threads == 3
