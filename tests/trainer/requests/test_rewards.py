import chat_requests
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_store import folders
from trainer.cluster.strategy import InProcess
from trainer.requests import saved as request_saved
from trainer.requests.input import Requests
from trainer.requests.metrics import of_lists
from trainer.requests.rewards import _placed, judged, rewards
from trainer.requests.scores import RequestScores


def candidates(folder, rows):
    """A folder of the candidates' vectors: (session, candidate, vector)."""
    sessions, names, vectors = zip(*rows, strict=True)
    with folders.new_folder(folder) as scratch:
        table = pa.table({"session_id": list(sessions), "candidate": list(names),
                          "vector": pa.array([list(v) for v in vectors], pa.list_(pa.float32()))})  # fmt: skip
        pq.write_table(table, scratch / "a.parquet")
        files = [folders.describe(scratch / "a.parquet", scratch)]
        folders.write_manifest(scratch, {"kind": "candidate_vectors", "files": files})
    return folder


def test_ndcg_is_of_the_whole_list_and_the_margin_between_the_best_of_both_kinds():
    logits = np.array([[2.0, 1.0, 0.5], [2.0, 1.0, 9.0], [1.0, 2.0, 0.0]])
    labels = np.array([[0.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    present = np.array([[True] * 3, [True, True, False], [True] * 3])
    ndcg, margin = judged(logits, labels, present)
    np.testing.assert_allclose(ndcg, [1 / np.log2(3), 1.0, 0.5])
    np.testing.assert_allclose(margin, [-1.0, 0.0, -2.0])


def test_a_session_s_own_query_is_worth_what_the_ranker_makes_of_the_session(chat_model, tmp_path):
    requests, model = chat_model
    rows = chat_requests.rows(60, 2).to_pylist()
    given = [(row["request_id"], "own", row["query"]) for row in rows if row["query"]]
    found = rewards(requests, model, candidates(tmp_path / "v", given)).to_pylist()
    data = Requests(requests)
    scored = RequestScores(InProcess(), data, request_saved.load(model, data).ranker).of("test")
    expected = dict(zip(scored.request, of_lists(scored, (6,))["ndcg@6"], strict=True))
    assert len(found) == len(given)
    for row in found:
        assert row["ndcg"] == pytest.approx(expected[row["session_id"]], abs=1e-6)
        assert -2 <= row["margin"] <= 2
        assert (row["ndcg"] == 1.0) == (row["margin"] > 0)


def test_a_query_that_points_to_what_was_clicked_is_worth_more(chat_model, tmp_path):
    requests, model = chat_model
    rows = [row for row in chat_requests.rows(60, 2).to_pylist() if row["query"]]
    given = [(row["request_id"], name, sign * np.array(row["query"]))
             for row in rows for name, sign in (("for", 1.0), ("against", -1.0))]  # fmt: skip
    found = rewards(requests, model, candidates(tmp_path / "v", [*given, ("stranger", "for", [1.0] * 4)]))
    assert len(found) == len(given)
    margins = {name: np.mean([row["margin"] for row in found.to_pylist() if row["candidate"] == name])
               for name in ("for", "against")}  # fmt: skip
    assert margins["for"] > margins["against"] + 0.2


def test_other_labels_judge_in_the_place_of_the_requests_own(chat_model, tmp_path):
    requests, model = chat_model
    rows = [row for row in chat_requests.rows(60, 2).to_pylist() if row["query"]]
    given = candidates(tmp_path / "v", [(row["request_id"], "own", row["query"]) for row in rows])
    items = Requests(requests).items.ids
    first = {row["session_id"]: row for row in rewards(requests, model, given, {r["request_id"]: items for r in rows})
             .to_pylist()}  # fmt: skip
    assert {row["ndcg"] for row in first.values()} == {1.0} and {row["margin"] for row in first.values()} == {0.0}
    one = {row["request_id"]: [items[0]] for row in rows}
    other = {row["request_id"]: [items[1]] for row in rows}
    found = [rewards(requests, model, given, labels).to_pylist() for labels in (one, other)]
    assert [row["ndcg"] for row in found[0]] != [row["ndcg"] for row in found[1]]


def test_placed_vectors_are_where_the_ranker_knows_them_wherever_they_were_before(chat_model, tmp_path):
    requests, model = chat_model
    rows = [row for row in chat_requests.rows(60, 2).to_pylist() if row["query"]]
    moved = {"here": lambda v: v, "there": lambda v: 3 * v - 7}
    folders_of = {name: candidates(tmp_path / name, [(row["request_id"], "own", move(np.array(row["query"])))
                                                     for row in rows]) for name, move in moved.items()}  # fmt: skip
    placed = [rewards(requests, model, folders_of[name], placed=True).to_pylist() for name in moved]
    for one, other in zip(*placed, strict=True):
        assert one["margin"] == pytest.approx(other["margin"], abs=1e-4)
    plain = [rewards(requests, model, folders_of[name]).to_pylist() for name in moved]
    assert max(abs(one["margin"] - other["margin"]) for one, other in zip(*plain, strict=True)) > 0.05


def test_placing_gives_each_number_its_mean_and_deviation():
    vectors = np.array([[1.0, 5.0], [3.0, 5.0]], np.float32)  # mean 2 and deviation 1; the second never moves
    found = _placed(vectors, np.array([10.0, 20.0]), np.array([0.5, 4.0]))
    assert found.tolist() == [[9.5, 20.0], [10.5, 20.0]] and found.dtype == np.float32
