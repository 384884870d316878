import pyarrow as pa
import pytest

from feature_store import alignment_tables, cross_fit
from feature_store.errors import DataError


def rewards(**changes):
    row = {"session_id": "s1", "candidate": "own/0", "ndcg": 0.5, "margin": -0.25, "fold": cross_fit.fold_of("s1", 2)}
    return pa.Table.from_pylist([{**row, **changes}])


def test_a_folder_is_read_back_as_it_was_written(tmp_path):
    manifest = alignment_tables.write(tmp_path / "r", "rewards", {"rewards": rewards()}, {"folds": 2, "ranker": "a1"})
    assert manifest["tables"]["rewards"]["rows"] == 1
    assert alignment_tables.read_manifest(tmp_path / "r", "rewards")["ranker"] == "a1"
    assert alignment_tables.read(tmp_path / "r", "rewards", "rewards").to_pylist() == rewards().to_pylist()
    assert alignment_tables.read(tmp_path / "r", "rewards", "rewards", ["ndcg"]).to_pylist() == [{"ndcg": 0.5}]
    with pytest.raises(DataError, match="not a folder of candidates"):
        alignment_tables.read(tmp_path / "r", "candidates", "candidates")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ndcg": 1.5}, r"field 'ndcg': must be from 0 to 1 \(got 1.5\)"),
        ({"margin": float("nan")}, "field 'margin': must be a number in every row"),
        ({"margin": None}, "field 'margin': must be a number in every row"),
        ({"session_id": ""}, "field 'session_id': must be given in every row"),
        ({"fold": 1 - cross_fit.fold_of("s1", 2)}, "scored by a ranker that was trained on it"),
    ],
)
def test_a_reward_that_cannot_be_is_refused(tmp_path, changes, message):
    with pytest.raises(DataError, match=message):
        alignment_tables.write(tmp_path / "r", "rewards", {"rewards": rewards(**changes)}, {"folds": 2})
    assert not (tmp_path / "r").exists()


def test_two_rewards_of_one_candidate_are_refused(tmp_path):
    twice = pa.concat_tables([rewards(), rewards()])
    with pytest.raises(DataError, match="no two rows are of the same session_id and candidate"):
        alignment_tables.write(tmp_path / "r", "rewards", {"rewards": twice}, {"folds": 2})


def test_rewards_say_over_how_many_folds(tmp_path):
    with pytest.raises(DataError, match="how many folds"):
        alignment_tables.write(tmp_path / "r", "rewards", {"rewards": rewards()}, {})


def test_a_missing_column_is_named(tmp_path):
    with pytest.raises(DataError, match="field 'rewards': the table's columns are"):
        alignment_tables.write(tmp_path / "r", "rewards", {"rewards": rewards().drop_columns("margin")}, {"folds": 2})


def test_a_split_is_one_of_three(tmp_path, chat_sessions):
    sessions = alignment_tables.read(chat_sessions, "session_texts", "sessions")
    intents = alignment_tables.read(chat_sessions, "session_texts", "intents")
    odd = sessions.set_column(1, "split", pa.array(["train"] * 11 + ["later"]))
    with pytest.raises(DataError, match=r"field 'split': must be one of train, valid, test \(got 'later'\)"):
        alignment_tables.write(tmp_path / "s", "session_texts", {"sessions": odd, "intents": intents}, {})
