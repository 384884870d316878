import numpy as np
import pytest
import tensorflow as tf

from feature_store.examples import read_rows
from trainer import replay


def test_places_are_those_of_the_targets_in_the_answers():
    items = np.array([[b"a", b"b"], [b"a", b"b"], [b"a", b""]], object)
    found = replay.places(items, ["b", "c", "a"])
    np.testing.assert_array_equal(found, [1, replay.MISS, 0])
    np.testing.assert_allclose(replay.per_user(found)["ndcg@10"], [1 / np.log2(3), 0, 1])


def test_calibration_is_the_share_of_chance_at_the_wrong_places():
    halves = np.log(np.array([[0.5, 0.25, 0.25]] * 4, np.float32))  # places 0, and 1 and 2 together
    right = replay.calibration(halves + 7, np.array([0, 0, 1, 1]))
    assert right == {"hits": 4, "error": pytest.approx(0.0, abs=1e-7)}
    assert replay.calibration(halves, np.array([0, 0, 0, 2]))["error"] == pytest.approx(0.25)  # 3/4, not 1/2
    of_two = replay.calibration(halves, np.array([0, 2, replay.MISS, replay.MISS]))
    assert of_two == {"hits": 2, "error": pytest.approx(0.0, abs=1e-7)}
    assert replay.calibration(halves, np.full(4, replay.MISS)) == {"hits": 0, "error": 0.0}
    gone = np.array([[1.0, np.finfo(np.float32).min]], np.float32)  # one item was left to answer
    assert replay.calibration(gone, np.array([0])) == {"hits": 1, "error": 0.0}


def test_users_fall_into_thirds_by_their_events():
    found = replay.segments(np.array([1, 2, 3, 4, 5, 6]))
    assert {name: where.tolist() for name, where in found.items()} == {
        "few events": [True, True, False, False, False, False],
        "some events": [False, False, True, True, False, False],
        "many events": [False, False, False, False, True, True],
    }


class Fixed(tf.Module):
    """Answers what it is given, whatever is asked."""

    def __init__(self, items):
        super().__init__()
        self.items = tf.constant([items])

    @tf.function(input_signature=[tf.TensorSpec((None, None), tf.string, name="history")])
    def recommend(self, history):
        rows = tf.shape(history)[0]
        return {"items": tf.tile(self.items, (rows, 1)), "scores": tf.zeros((rows, self.items.shape[1]))}


def saved(folder, items):
    module = Fixed(items)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.recommend})
    return folder


def test_two_versions_are_compared_user_by_user(shop, tmp_path, monkeypatch):
    monkeypatch.setattr(replay, "TIMED", 2)
    targets = read_rows(shop / "examples", "test", ["target"])["target"].to_pylist()
    hit = max(set(targets), key=targets.count)
    versions = {"serving": saved(tmp_path / "1", ["x", hit]), "candidate": saved(tmp_path / "2", [hit, "x"])}
    found = replay.measure(versions, shop / "examples", tmp_path / "out", 100)
    share = targets.count(hit) / len(targets)
    assert found["users"] == len(targets)
    assert found["quality"]["candidate"]["ndcg@10"] == pytest.approx(share)
    assert found["quality"]["serving"]["ndcg@10"] == pytest.approx(share / np.log2(3))
    assert found["paired"]["ndcg@10"]["difference"] == pytest.approx(share - share / np.log2(3))
    assert sum(segment["users"] for segment in found["segments"].values()) == len(targets)
    hits = targets.count(hit)
    assert found["calibration"]["candidate"] == {"hits": hits, "error": pytest.approx(0.5)}  # always the first of two
    assert found["size"]["serving"] > 0 and found["latency"]["serving"]["p50"] > 0
    same = replay.same(versions["serving"], versions["candidate"], shop / "examples")
    assert same == {"requests": len(targets), "alike": 0}
