from benchmarks.reproduce._rgalign_meaning import measured, rightness
from feature_store import intents

BASE = [{"intent_id": name, "title": title, "examples": [title + " please tell me what I am to do about that now"]}
        for name, title in (("late", "My parcel is late"), ("refund", "I want a refund"))]  # fmt: skip


def test_what_a_question_of_the_base_means_is_known_and_of_others_is_not():
    asked = [intents.question(row, "s1") for row in BASE]
    told = [{"session_id": "s1", "candidate": f"ranker/{n}", "query": query} for n, query in enumerate(asked)]
    told.append({"session_id": "s1", "candidate": "hot/0", "query": "Who are you and what do you want?"})
    found = rightness(told, {"s1": {"refund"}}, BASE)
    assert found == {("s1", "ranker/0"): False, ("s1", "ranker/1"): True}


def test_the_best_by_reward_is_right_as_often_as_counted():
    right = {("a", "r/0"): False, ("a", "r/1"): True, ("b", "r/0"): True, ("b", "r/1"): False, ("b", "r/2"): False,
             ("c", "r/0"): False}  # fmt: skip
    given = [("a", "r/0", 0.5, 0.1), ("a", "r/1", 0.5, 0.2), ("a", "own/0", 1.0, 0.9), ("b", "r/0", 0.2, 0.9),
             ("b", "r/1", 0.3, 0.0), ("b", "r/2", 0.1, 0.0), ("c", "r/0", 1.0, 0.5)]  # fmt: skip
    names = ("session_id", "candidate", "ndcg", "margin")
    chosen = {"v1": [("a", "own/0"), ("b", "r/1"), ("c", "r/0")], "v2": [("a", "r/1")]}
    found = measured(right, [dict(zip(names, row, strict=True)) for row in given], chosen)
    assert found == {
        "sessions": 3, "there": 0.6667, "differ": 0.6667,
        "best": 0.5,  # a's by margin, b's not
        "chance": 0.4167,  # a half and a third
        "v1": {"samples": 3, "known": 0.6667, "right": 0.0, "chance": 0.1667},
        "v2": {"samples": 1, "known": 1.0, "right": 1.0, "chance": 0.5},
    }  # fmt: skip
