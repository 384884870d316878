"""What titles could tell: users' titles, scores and learning by hand."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from benchmarks.reproduce import _coco_titles
from benchmarks.reproduce._coco_forms import Asked, Form, Layer, learn
from llm_offline.config import EncoderConfig
from trainer.input import Held

TITLES = np.array([[0, 0], [1, 0], [0, 1], [-1, 0]], np.float32)  # of padding and three items
NOTHING = np.zeros(0, np.int64)


def test_titles_are_centred_of_length_one_and_zero_where_there_is_none(tmp_path):
    pq.write_table(pa.table({"item_id": ["a", "b", "c"], "title": ["red shoes", None, "blue hat"]}), tmp_path / "i")
    found = _coco_titles.titles_of(tmp_path / "i", ["c", "b", "a", "gone"], EncoderConfig(layers=1))
    assert np.linalg.norm(found, axis=1) == pytest.approx([0, 1, 0, 1, 0], abs=1e-5)
    assert found[1] == pytest.approx(-found[3], abs=1e-5)  # two vectors less their mean


def test_scores_are_the_backbone_s_plus_w_times_the_likeness():
    candidates = tf.constant([[0.0, 0.0], [1.0, 2.0], [3.0, 4.0], [0.0, 1.0]])
    h, titles = np.array([[1.0, 1.0]], np.float32), np.array([[0.6, 0.8]], np.float32)
    assert Form(candidates, TITLES, 2.0).scores(h, titles).numpy()[0] == pytest.approx([0, 3 + 1.2, 7 + 1.6, 1 - 1.2])


def test_what_the_backbone_knows_by_heart_teaches_nothing_of_titles_and_what_it_does_not_know_does():
    """Users like the item of their own title. The backbone gives the right item 20 more than others, or nothing."""
    users, target = 512, np.tile([1, 2], 256).astype(np.int32)
    candidates = tf.constant(20 * np.eye(4, dtype=np.float32))
    rows = Held(target, target[:, None], target, NOTHING, NOTHING)
    known, fresh = np.eye(4, dtype=np.float32)[target], np.zeros((users, 4), np.float32)
    form = {}
    for name, h in (("known", known), ("fresh", fresh)):
        form[name] = learn(Form(candidates, TITLES, 0.0), Asked(rows, h, TITLES[target]))
    assert np.abs(form["known"].m.numpy()).max() < 1e-3 < form["fresh"].m.numpy().diagonal().min()


def test_what_users_have_met_teaches_that_titles_like_theirs_are_not_wanted_unless_it_is_left_out():
    """All have met items 1, 4 and 5, titled as they are themselves, and want 2, which is nearer to them than 3."""
    titles = np.array([[0, 0], [1, 0], [0.4, 0.9], [-1, 0], [1, 0], [1, 0]], np.float32)
    users, met = 64, np.array([1, 4, 5])
    target = np.full(users, 2, np.int32)
    rows = Held(target, np.tile(met, (users, 1)), target, np.repeat(np.arange(users), 3), np.tile(met, users))
    asked = Asked(rows, np.zeros((users, 2), np.float32), np.tile(titles[1], (users, 1)))
    form = {seen: learn(Form(tf.zeros((6, 2)), titles, 0.0), asked, seen) for seen in (True, False)}
    assert float(form[True].m[0, 0]) < 0 < float(form[False].m[0, 0])


def test_a_part_of_the_users_keeps_what_these_have_met_and_no_target_is_left_out():
    seen = np.array([0, 1, 1]), np.array([1, 2, 1])
    rows = Held(np.array([b"a", b"b"]), np.array([[1], [2]]), np.array([3, 1]), *seen)
    asked = Asked(rows, np.zeros((2, 2), np.float32), np.zeros((2, 2), np.float32))
    assert asked.seen(4).toarray().tolist() == [[False, True, False, False], [False, False, True, False]]
    assert asked.part(np.array([False, True])).seen(4).toarray().tolist() == [[False, False, True, False]]


def test_ranking_leaves_out_what_a_user_has_seen_and_the_surprise_is_of_all_items():
    rows = Held(np.array([b"a", b"b"]), np.array([[1], [2]]), np.array([3, 1]), np.array([0, 1]), np.array([1, 2]))
    h = np.array([[0.0, 9.0, 5.0, 4.0], [0.0, 1.0, 9.0, 2.0]], np.float32)
    asked = Asked(rows, h, np.zeros((2, 2), np.float32))
    plain = Form(tf.eye(4), TITLES, 0.0)
    found = _coco_titles._judge(plain, asked)
    assert found["ndcg@5"] == pytest.approx([1 / np.log2(3)] * 2)  # behind the one item that was not seen
    wanted = [np.log(np.exp(one[1:]).sum()) - one[target] for one, target in zip(h, rows.target, strict=True)]
    assert _coco_titles._surprised(plain, asked) == pytest.approx(np.mean(wanted), rel=1e-5)


def test_a_linear_layer_starts_as_the_backbone_and_learns_from_titles_where_it_is_told_them():
    """h says nothing of the target, the user's title all."""
    target = np.tile([1, 2, 3], 200).astype(np.int32)
    rows = Held(target, target[:, None], target, NOTHING, NOTHING)
    asked = Asked(rows, np.ones((600, 4), np.float32), np.eye(4, dtype=np.float32)[target])
    candidates = tf.eye(4)
    plain, told = (Layer(candidates, 4, told) for told in (False, True))
    np.testing.assert_allclose(told.scores(asked.h[:2], asked.titles[:2]), asked.h[:2], rtol=1e-5)
    for layer in (plain, told):
        learn(layer, asked)
    first = [one.scores(asked.h, asked.titles).numpy()[:, 1:].argmax(1) + 1 for one in (plain, told)]
    assert np.mean(first[0] == target) < 0.5 < np.mean(first[1] == target) == 1
