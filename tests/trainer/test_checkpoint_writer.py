import json
import resource
from contextlib import contextmanager

import numpy as np
import pytest
import tf_keras

from trainer import checkpoint, checkpoint_writer
from trainer.checkpoint_writer import CheckpointWriter
from trainer.layers import tables
from trainer.layers.flat import FlatWeights


@pytest.fixture
def parameters():
    model = tf_keras.Sequential([tf_keras.layers.Dense(2)])
    model.build((None, 3))
    flat = FlatWeights(model)
    table = tables.EmbeddingTable("item", 7, 2, tables.normal(1.0), 3, (None, None))
    table.add_slot("m", 0.5)
    return [table], flat


@contextmanager
def no_room():
    """No file may grow beyond 100 bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("copied", [True, False])
def test_what_is_written_is_of_when_save_was_called(tmp_path, parameters, monkeypatch, copied):
    if not copied:
        monkeypatch.setattr(checkpoint_writer, "COPY_BYTES", 0)
    (table,), flat = parameters
    before, writer = table.whole().numpy(), CheckpointWriter(tmp_path, keep=2)
    writer.save([table], flat, {"step": 1}, best="")
    table.assign(np.zeros((7, 2), np.float32))
    assert writer.settle() is None
    assert not writer.busy
    np.testing.assert_array_equal(np.load(tmp_path / "ckpt-1" / "table.item.npy"), before)
    assert json.loads((tmp_path / "ckpt-1" / "state.json").read_text()) == {"step": 1}
    assert checkpoint.size([table], flat) == sum(np.load(p).nbytes for p in (tmp_path / "ckpt-1").glob("*.npy"))


@pytest.mark.parametrize("copied", [True, False])
def test_a_full_disk_is_told_and_leaves_the_checkpoint_before(tmp_path, parameters, monkeypatch, capsys, copied):
    if not copied:
        monkeypatch.setattr(checkpoint_writer, "COPY_BYTES", 0)
    writer = CheckpointWriter(tmp_path, keep=1)
    writer.save(*parameters, {"step": 1}, best="")
    assert writer.settle() is None
    with no_room():
        writer.save(*parameters, {"step": 2}, best="")
        assert isinstance(writer.settle(), OSError)
    assert "ckpt-2 could not be written ([Errno 27] File too large" in (told := capsys.readouterr().out)
    assert "the newest is still ckpt-1" in told
    assert [path.name for path in tmp_path.iterdir()] == ["ckpt-1"]
    checkpoint.restore(tmp_path / "ckpt-1", *parameters)
    writer.save(*parameters, {"step": 3}, best="")
    assert writer.settle() is None
    assert [path.name for path in tmp_path.iterdir()] == ["ckpt-3"]


def test_old_checkpoints_are_removed_but_the_newest_and_the_best(tmp_path, parameters):
    writer = CheckpointWriter(tmp_path, keep=2)
    for step in (1, 2, 10, 11):
        writer.save(*parameters, {"step": step}, best="ckpt-1")
        assert writer.settle() is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ckpt-1", "ckpt-10", "ckpt-11"]


def test_a_checkpoint_of_the_same_step_takes_the_other_s_place(tmp_path, parameters):
    writer = CheckpointWriter(tmp_path, keep=2)
    for epoch in (0, 1):
        writer.save(*parameters, {"step": 1, "epoch": epoch}, best="")
        assert writer.settle() is None
    assert [path.name for path in tmp_path.iterdir()] == ["ckpt-1"]
    assert checkpoint.restore(tmp_path / "ckpt-1", *parameters)["epoch"] == 1
