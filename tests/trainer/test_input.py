import numpy as np
import pytest
import tensorflow as tf

from feature_store.errors import DataError
from trainer.input import Examples, held_out, read_records, right_align, target_counts, training_windows
from trainer.vocabulary import Vocabulary

VOCABULARY = Vocabulary(["a", "b", "c", "d"])


def record(history: list[str], target: str) -> bytes:
    def values(ids: list[str]) -> tf.train.Feature:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[i.encode() for i in ids]))

    features = tf.train.Features(feature={"history": values(history), "target": values([target])})
    return tf.train.Example(features=features).SerializeToString()


def test_a_window_pairs_each_item_with_the_one_that_follows():
    rows = tf.constant([record(["a", "b"], "c"), record(["d"], "a")])
    history, targets = training_windows(rows, VOCABULARY, 3)
    assert history.numpy().tolist() == [[0, 1, 2], [0, 0, 4]]
    assert targets.numpy().tolist() == [[1, 2, 3], [0, 4, 1]]


def test_a_long_history_keeps_its_newest_items():
    history, targets = training_windows(tf.constant([record(["a", "b", "c"], "d")]), VOCABULARY, 2)
    assert history.numpy().tolist() == [[2, 3]]
    assert targets.numpy().tolist() == [[3, 4]]


def test_newest_items_that_are_held_back_are_neither_read_nor_asked():
    rows = tf.constant([record(["a", "b", "c"], "d"), record(["d"], "a")])
    history, targets = training_windows(rows, VOCABULARY, 3, held_back=1)
    assert history.numpy().tolist() == [[0, 1, 2], [0, 0, 0]]
    assert targets.numpy().tolist() == [[1, 2, 3], [0, 0, 4]]
    history, targets = training_windows(rows, VOCABULARY, 3, held_back=3)
    assert history.numpy().tolist() == [[0, 0, 0], [0, 0, 0]]
    assert targets.numpy().tolist() == [[0, 0, 1], [0, 0, 0]]


def test_unknown_items_leave_no_gap():
    aligned = right_align(tf.ragged.constant([[1, 0, 2], [0, 0], [3]]), 3)
    assert aligned.numpy().tolist() == [[0, 1, 2], [0, 0, 0], [0, 0, 3]]


def test_records_are_read_from_pieces_of_files_in_order(tmp_path):
    for name, values in (("x", b"0123"), ("y", b"ab")):
        with tf.io.TFRecordWriter(str(tmp_path / name)) as writer:
            for value in values:
                writer.write(bytes([value]))
    files = tf.constant([str(tmp_path / "x"), str(tmp_path / "y"), str(tmp_path / "x")])
    found = read_records(files, tf.constant([2, 0, 0], tf.int64), tf.constant([2, 1, 1], tf.int64))
    assert found.numpy().tolist() == [b"2", b"3", b"a", b"0"]


def test_a_folder_without_a_manifest_is_refused(tmp_path):
    with pytest.raises(DataError, match="MANIFEST"):
        Examples(tmp_path)


def test_held_out_rows_never_show_the_target(shop):
    examples = Examples(shop / "examples")
    count = 0
    for rows in held_out(examples, "test", 10, batch=7):
        count += len(rows.user)
        assert (rows.target > 0).all()
        assert rows.history.shape == (len(rows.user), 10)
        for row, newest in enumerate(rows.history[:, -1]):
            assert newest in rows.seen_item[rows.seen_row == row]
    assert count == examples.count("test")


def test_target_counts_count_every_target_of_the_training_split(shop):
    examples = Examples(shop / "examples")
    counts = target_counts(examples, 10, batch=5)
    assert counts.sum() == examples.manifest["splits"]["train"]["targets"]
    assert counts[0] == 0
    assert np.array_equal(counts, target_counts(examples, 10))
