"""Which users are of little activity, and of which level; whose statistics a ranker reads by."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_store.conversions import ACTIVITY
from trainer.requests import evaluate as request_evaluate
from trainer.requests.config import RequestEvaluateConfig
from trainer.requests.evaluate import of_users
from trainer.requests.scores import Scored


class Folder:
    """Of requests, as far as activity goes."""

    def __init__(self, folder, purchases):
        self.folder = folder
        table = pa.table({"user_id": [f"u{n}" for n in range(len(purchases))], "purchases": pa.array(purchases)})
        pq.write_table(table, folder / ACTIVITY)


def scored(users):
    column = np.zeros((len(users), 1))
    names = np.array(users)
    return Scored(names, names, np.zeros(len(users), int), column == 0, column, column, {})


def test_without_ties_the_parts_are_of_one_size(tmp_path):
    data, users = Folder(tmp_path, [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]), [f"u{n}" for n in range(10)]
    found = of_users(data, scored(users), RequestEvaluateConfig(levels=5))
    assert np.array(users)[found["low"]].tolist() == ["u5", "u6", "u7", "u8", "u9"]  # 55% of 10, cut off
    assert np.array(users)[found["level_1"]].tolist() == ["u8", "u9"]
    assert np.array(users)[found["level_5"]].tolist() == ["u0", "u1"]
    assert found["overall"].all()


@pytest.mark.parametrize(("ties", "low", "first"), [("hash", 5, 2), ("together", 8, 8)])
def test_users_of_one_activity_are_parted_by_a_hash_or_stay_together(tmp_path, ties, low, first):
    data, users = Folder(tmp_path, [0] * 8 + [1, 2]), [f"u{n}" for n in range(10)]
    found = of_users(data, scored(users), RequestEvaluateConfig(levels=5, ties=ties))
    assert (found["low"].sum(), found["level_1"].sum()) == (low, first)
    again = of_users(data, scored(users[::-1]), RequestEvaluateConfig(levels=5, ties=ties))
    assert again["low"].tolist() == found["low"][::-1].tolist()


def test_a_user_that_training_does_not_know_has_no_purchases(tmp_path):
    data = Folder(tmp_path, [5, 4, 3, 2, 1])
    found = of_users(data, scored(["new", "u0", "u4"]), RequestEvaluateConfig(levels=3))
    assert found["low"].tolist() == [True, False, True] and found["level_1"].tolist() == [True, False, False]


def test_a_ranker_keeps_the_statistics_of_what_it_was_trained_on(chat_model, tmp_path):
    requests, model = chat_model
    other = tmp_path / "other"
    shutil.copytree(requests, other)
    told = json.loads((other / "MANIFEST.json").read_text())
    told["query"]["mean"] = [5.0] * len(told["query"]["mean"])
    (other / "MANIFEST.json").write_text(json.dumps(told))
    evaluate = RequestEvaluateConfig(bootstrap=2)
    request_evaluate.run(requests, model, tmp_path / "a", evaluate)
    request_evaluate.run(other, model, tmp_path / "b", evaluate, trained_on=requests)
    request_evaluate.run(other, model, tmp_path / "c", evaluate)
    own, kept, moved = (request_evaluate.read(tmp_path / name)[0].logits for name in "abc")
    np.testing.assert_array_equal(kept, own)
    assert np.abs(moved - own).max() > 1e-3
