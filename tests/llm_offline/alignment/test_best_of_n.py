from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_store import alignment_tables, cross_fit, folders
from feature_store.errors import DataError
from llm_offline.alignment.best_of_n import Candidate, choose, edit_distance, in_order, pairs, run

PRIORITY = ["big", "mid", "own"]
OWN = "why is my parcel late and where is it now please tell me"
# The four candidates of the paper's §4.2, by hand. The reasoner's own query has twelve words.
EXAMPLE = [
    Candidate("own/0", "own", True, OWN, ndcg=1.0, margin=0.4, distance=0, cosine=0.6),
    Candidate("mid/0", "mid", False, "when will my parcel come", ndcg=1.0, margin=0.1, distance=9, cosine=0.9),
    Candidate("big/0", "big", False, "can i get my money back", ndcg=0.5, margin=-0.2, distance=11, cosine=0.3),
    Candidate("big/1", "big", False, "please cancel my order", ndcg=0.0, margin=-0.9, distance=11, cosine=0.1),
]


def chosen(strategy, candidates=EXAMPLE):
    return [one.candidate for one in choose(candidates, strategy, PRIORITY)]


def test_v1_takes_the_best_by_ndcg_then_by_margin():
    assert chosen("v1") == ["own/0"]
    assert [one.candidate for one in in_order(EXAMPLE, PRIORITY)] == ["own/0", "mid/0", "big/0", "big/1"]


def test_v1_breaks_what_is_still_tied_by_the_priority_list():
    tied = [Candidate(f"{teacher}/0", teacher, teacher == "own", "q", 1.0, 0.1) for teacher in ("own", "mid", "big")]
    assert [one.candidate for one in in_order(tied, PRIORITY)] == ["big/0", "mid/0", "own/0"]
    assert [one.candidate for one in in_order(tied, PRIORITY[::-1])] == ["own/0", "mid/0", "big/0"]


def test_v2_drops_the_session_whose_best_is_the_reasoner_s_own():
    assert chosen("v2") == []
    assert chosen("v2", EXAMPLE[1:]) == ["mid/0"]


def test_v3_keeps_what_is_both_farthest_from_the_own_query_and_nearest_to_the_intent():
    assert chosen("v3") == []  # big/0 is farthest, mid/0 is nearest
    both = [*EXAMPLE[:1], Candidate("mid/0", "mid", False, "x", 0.0, -1.0, distance=12, cosine=0.9), *EXAMPLE[2:]]
    assert chosen("v3", both) == ["mid/0"]


def test_v3_looks_at_all_that_are_equally_far():
    far = Candidate("mid/1", "mid", False, "x", 0.0, -1.0, distance=11, cosine=0.95)
    assert chosen("v3", [*EXAMPLE, far]) == ["mid/1"]


def test_v4_keeps_the_farthest_and_the_nearest():
    assert chosen("v4") == ["big/0", "mid/0"]  # of two that are equally far the better one
    one = Candidate("mid/0", "mid", False, "x", 0.0, -1.0, distance=12, cosine=0.9)
    assert chosen("v4", [EXAMPLE[0], one]) == ["mid/0"]


@pytest.mark.parametrize("strategy", ["v3", "v4"])
def test_v3_and_v4_need_a_query_of_the_reasoner_and_one_of_another(strategy):
    assert chosen(strategy, EXAMPLE[1:]) == chosen(strategy, EXAMPLE[:1]) == []


SHORT = replace(EXAMPLE[0], query="where is it", learnt=False)


def test_an_own_query_that_is_too_short_is_compared_with_and_not_learnt():
    rest = EXAMPLE[1:]
    assert chosen("v1", [SHORT, *rest]) == ["mid/0"]  # the best that may be learnt
    assert chosen("v2", [SHORT, *rest]) == []  # the best is the reasoner's own
    assert chosen("v2", [replace(SHORT, ndcg=0.9), *rest]) == ["mid/0"]
    both = replace(EXAMPLE[1], distance=12)
    assert chosen("v3", [SHORT, both, *EXAMPLE[2:]]) == ["mid/0"]
    assert chosen("v4", [SHORT, *rest]) == ["big/0", "mid/0"]
    assert [other.candidate for other, _ in pairs(rest[0], [SHORT, *rest], margins=True)] == ["big/0", "big/1"]


def test_pairs_are_what_the_chosen_one_is_better_than():
    told = [(other.candidate, by) for other, by in pairs(EXAMPLE[0], EXAMPLE, margins=True)]
    assert told == [("mid/0", "margin"), ("big/0", "ndcg"), ("big/1", "ndcg")]
    assert [other.candidate for other, _ in pairs(EXAMPLE[0], EXAMPLE, margins=False)] == ["big/0", "big/1"]
    assert pairs(EXAMPLE[3], EXAMPLE, margins=True) == []


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [("", "", 0), ("a b c", "a b c", 0), ("a b c", "A x c", 1), ("a b c", "b c", 1), ("a b", "c d e", 3), ("", "a", 1)],
)
def test_the_edit_distance_is_of_words(one, other, words):
    assert edit_distance(one, other) == edit_distance(other, one) == words


WORDS = st.lists(st.sampled_from("abc"), max_size=6).map(" ".join)


@given(WORDS, WORDS, WORDS)
def test_the_edit_distance_is_a_metric(one, other, third):
    assert (edit_distance(one, other) == 0) == (one == other)
    assert edit_distance(one, third) <= edit_distance(one, other) + edit_distance(other, third)


LONG = "where is my parcel that was sent to me nine days ago"  # twelve words


@pytest.fixture
def folder(tmp_path, chat_sessions):
    """Candidates and rewards of three sessions: s00 is won by mid, s01 is tied, s02 has nothing of the right length."""

    def make(sessions=("s00", "s01", "s02"), lose=(), own_outcome="kept"):
        table = {sessions[0]: (0.5, 1.0, 0.0), sessions[1]: (1.0, 1.0, 1.0), sessions[2]: (1.0, 0.0, 0.0)}
        written, rewards = [], []
        for session, ndcgs in table.items():
            for teacher, ndcg in zip(("own", "mid", "big"), ndcgs, strict=True):
                kept = "short" if session == sessions[2] else own_outcome if teacher == "own" else "kept"
                key = {"session_id": session, "candidate": f"{teacher}/0"}
                query = {"own": LONG, "mid": LONG + " now", "big": "give me back my money " * 3}[teacher]
                written.append(key | {"teacher": teacher, "own": teacher == "own", "query": query, "words": 12,
                                      "outcome": kept, "answer": query, "source": teacher,
                                      "asked": session + teacher})  # fmt: skip
                rewards.append(key | {"ndcg": ndcg, "margin": {"own": 0.2, "mid": 0.2, "big": 0.1}[teacher],
                                      "fold": cross_fit.fold_of(session, 2)})  # fmt: skip
        rewards = [row for row in rewards if row["candidate"] not in lose]
        alignment_tables.write(tmp_path / "c", "candidates", {"candidates": pa.Table.from_pylist(written)}, {})
        about = {"folds": 2, "ranker": "r1"}
        alignment_tables.write(tmp_path / "r", "rewards", {"rewards": pa.Table.from_pylist(rewards)}, about)
        return chat_sessions, tmp_path / "c", tmp_path / "r", tmp_path / "b"

    return make


def vectors(folder, keys, rows):
    """A folder of vectors, as the Beam job leaves it."""
    with folders.new_folder(folder) as new:
        columns = {key: [row[0][n] for row in rows] for n, key in enumerate(keys)}
        table = pa.table(columns | {"vector": [row[1] for row in rows]})
        pq.write_table(table, new / "0.parquet")
        folders.write_manifest(new, {"kind": "vectors", "files": [folders.describe(new / "0.parquet", new)]})
    return folder


def test_a_folder_of_samples_and_pairs(folder):
    summary = run(*folder(), "v1", PRIORITY)
    assert summary == {
        "sessions": 3, "without_candidate": 1, "without_choice": 0, "samples": 2, "by_teacher": {"mid": 2}, "pairs": 3,
        "pairs_by_ndcg": 2, "tie_rate": 0.5, "tie_rate_after_margin": 0.5,
    }  # fmt: skip
    out = folder()[-1]
    samples = alignment_tables.read(out, "best_of_n", "samples").to_pylist()
    assert samples[0] == {"session_id": "s00", "candidate": "mid/0", "query": LONG + " now", "intents": ["late"]}
    told = [tuple(row.values()) for row in alignment_tables.read(out, "best_of_n", "pairs").to_pylist()]
    assert told == [("s00", "mid/0", "own/0", "ndcg"), ("s00", "mid/0", "big/0", "ndcg"),
                    ("s01", "mid/0", "big/0", "margin")]  # fmt: skip
    manifest = alignment_tables.read_manifest(out, "best_of_n")
    assert (manifest["strategy"], manifest["ranker"], manifest["folds"]) == ("v1", "r1", 2)


def test_of_many_pairs_those_with_the_worst_are_kept(folder):
    assert run(*folder(), "v1", PRIORITY, most_pairs=1)["pairs"] == 2
    told = alignment_tables.read(folder()[-1], "best_of_n", "pairs").to_pylist()
    assert [row["rejected"] for row in told] == ["big/0", "big/0"]


def test_queries_of_any_length_where_that_is_asked_for(folder):
    assert run(*folder(), "v2", PRIORITY, any_length=True)["samples"] == 2  # s02 is won by the reasoner's own
    assert run(*folder(), "v1", PRIORITY, any_length=True)["samples"] == 3


NEAR, FAR = [1.0, 0.0], [0.0, 2.0]
"""Near the intents of `golden`, and far from them."""


def golden(folder):
    """Vectors of two sessions' candidates, of which those of `big` lie where the intents do, and of the intents."""
    rows = [((s, f"{t}/0"), NEAR if t == "big" else FAR) for s in ("s00", "s01") for t in ("own", "mid", "big")]
    intents = [((i,), [3.0, 0.1]) for i in ("late", "refund", "return", "pay")]
    return {"vectors": vectors(folder / "v", ["session_id", "candidate"], rows),
            "intents": vectors(folder / "i", ["intent_id"], intents)}  # fmt: skip


def test_v3_and_v4_look_at_the_golden_intent(folder, tmp_path):
    args, seen = folder(), golden(tmp_path)
    for strategy in ("v3", "v4"):
        summary = run(*args, strategy, PRIORITY, **seen)
        assert (summary["samples"], summary["by_teacher"]) == (2, {"big": 2})
    with pytest.raises(ValueError, match="vectors and intents must be given with v3 and v4"):
        run(*args, "v3", PRIORITY)
    late = folder(("s10", "s11", "s09"))  # of the test split
    rows = [((s, f"{t}/0"), NEAR) for s in ("s10", "s11") for t in ("own", "mid", "big")]
    mine = vectors(tmp_path / "v", ["session_id", "candidate"], rows)
    with pytest.raises(DataError, match=r"v3 looks at the golden intent: .* 's10' is not \(got 'test'\)"):
        run(*late, "v3", PRIORITY, vectors=mine, intents=seen["intents"])


def test_distances_are_to_the_reasoner_s_own_queries_of_any_length(folder, tmp_path):
    args, seen = folder(own_outcome="short"), golden(tmp_path)
    for strategy in ("v3", "v4"):
        summary = run(*args, strategy, PRIORITY, **seen)
        assert (summary["samples"], summary["without_choice"]) == (2, 0)
    assert run(*args, "v1", PRIORITY)["by_teacher"] == {"mid": 2}


def test_what_cannot_be_is_refused(folder):
    with pytest.raises(ValueError, match="strategy must be one of 'v1', 'v2', 'v3', 'v4', received 'v5'"):
        run(*folder(), "v5", PRIORITY)
    with pytest.raises(ValueError, match="priority must name every teacher"):
        run(*folder(), "v1", ["big", "own"])
    with pytest.raises(DataError, match="a candidate has no reward"):
        run(*folder(lose=["big/0"]), "v1", PRIORITY)
