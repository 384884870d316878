import json

import numpy as np
import pytest
import tf_keras

from trainer import checkpoint
from trainer.layers import tables
from trainer.layers.flat import FlatWeights


def parameters(shards=1, rows=7, seed=0):
    model = tf_keras.Sequential([tf_keras.layers.Dense(2)])
    model.build((None, 3))
    flat = FlatWeights(model)
    table = tables.EmbeddingTable("item", rows, 2, tables.normal(1.0), seed, (None,) * shards)
    for name in ("m", "v"):
        table.add_slot(name, float(seed))
        flat.add_slot(name, float(seed))
    return [table], flat


def test_what_is_saved_comes_back_on_another_number_of_shards(tmp_path):
    saved_tables, saved_flat = parameters(shards=1, seed=3)
    path = checkpoint.save(tmp_path, saved_tables, saved_flat, {"step": 12, "epoch": 2})
    new_tables, new_flat = parameters(shards=3, seed=0)
    state = checkpoint.restore(path, new_tables, new_flat)
    assert state == {"step": 12, "epoch": 2}
    np.testing.assert_array_equal(new_tables[0].whole(), saved_tables[0].whole())
    np.testing.assert_array_equal(new_flat.values(new_flat.variables), saved_flat.values(saved_flat.variables))
    for _, values in new_tables[0].blocks(new_tables[0].slots["m"]):
        np.testing.assert_array_equal(values, np.full((7, 2), 3.0))
    np.testing.assert_array_equal(new_flat.values(new_flat.slots["v"]), np.full(8, 3.0))


def test_a_slot_of_one_value_a_row_comes_back_on_another_number_of_shards(tmp_path):
    (table,), flat = parameters(shards=2)
    table.add_slot("accumulator", 0.0, width=1)
    values = np.arange(7, dtype=np.float32)[:, None]
    table.load(table.slots["accumulator"], lambda start, stop: values[start:stop])
    path = checkpoint.save(tmp_path, [table], flat, {"step": 1})
    with pytest.raises(checkpoint.CheckpointError, match="has .'table.item.accumulator'., which the model has not"):
        checkpoint.restore(path, *parameters())
    (other,), other_flat = parameters(shards=3)
    other.add_slot("accumulator", 0.0, width=1)
    checkpoint.restore(path, [other], other_flat)
    np.testing.assert_array_equal(other.whole("accumulator"), values)


def test_a_missing_slot_is_an_error(tmp_path):
    path = checkpoint.save(tmp_path, *parameters(), {"step": 1})
    (path / "table.item.m.npy").unlink()
    with pytest.raises(checkpoint.CheckpointError, match="needs .'table.item.m'."):
        checkpoint.restore(path, *parameters())


def test_a_slot_nobody_takes_is_an_error_unless_slots_are_not_wanted(tmp_path):
    path = checkpoint.save(tmp_path, *parameters(), {"step": 1})
    table = tables.EmbeddingTable("item", 7, 2, tables.zeros())
    _, flat = parameters()
    flat.slots.clear()
    with pytest.raises(checkpoint.CheckpointError, match="which the model has not"):
        checkpoint.restore(path, [table], flat)
    checkpoint.restore_for_use(path, [table], flat)


def test_a_slot_can_stand_in_for_the_parameters(tmp_path):
    path = checkpoint.save(tmp_path, *parameters(seed=3), {"step": 1})
    (table,), flat = parameters(shards=2)
    checkpoint.restore_for_use(path, [table], flat, slot="m")
    np.testing.assert_array_equal(table.whole(), np.full((7, 2), 3.0))
    np.testing.assert_array_equal(flat.values(flat.variables), np.full(flat.size, 3.0))
    with pytest.raises(checkpoint.CheckpointError, match="needs 'table.item.average'"):
        checkpoint.restore_for_use(path, [table], flat, slot="average")


def test_another_vocabulary_does_not_fit(tmp_path):
    path = checkpoint.save(tmp_path, *parameters(rows=7), {"step": 1})
    with pytest.raises(checkpoint.CheckpointError, match=r"needs shape \(8, 2\), the checkpoint has \(7, 2\)"):
        checkpoint.restore(path, *parameters(rows=8))


def test_a_save_that_was_killed_is_no_checkpoint(tmp_path):
    whole = checkpoint.save(tmp_path, *parameters(), {"step": 1})
    killed = tmp_path / ".writing-ckpt-2"
    killed.mkdir()
    (killed / "state.json").write_text(json.dumps({"step": 2}))
    assert checkpoint.newest(tmp_path) == whole
    checkpoint.prune(tmp_path, keep=1)
    assert not killed.exists()


def test_pruning_keeps_the_newest_and_the_best(tmp_path):
    for step in (1, 2, 10, 11):
        checkpoint.save(tmp_path, *parameters(), {"step": step})
    checkpoint.prune(tmp_path, keep=2, also="ckpt-1")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ckpt-1", "ckpt-10", "ckpt-11"]
    assert checkpoint.newest(tmp_path).name == "ckpt-11"


def test_no_folder_is_no_checkpoint(tmp_path):
    assert checkpoint.newest(tmp_path / "nowhere") is None
    with pytest.raises(checkpoint.CheckpointError, match="state.json is missing"):
        checkpoint.restore(tmp_path, *parameters())
