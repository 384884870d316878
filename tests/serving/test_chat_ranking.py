import time

import chat_endpoint
import numpy as np
import pytest

from serving.chat_ranking import NOBODY, ChatRanking, RankedIntents
from serving.reasoner_client import Query, ReasonerClient, ReasonerClientConfig
from serving.transport import Answer

FEATURES = {"region": [3], "pages": [["help"]]}


class Ranker:
    """Stands where a `Client` does; keeps what it is asked."""

    def __init__(self):
        self.asked = []

    def predict(self, inputs, signature, *, timeout):
        self.asked.append((signature, inputs, timeout))
        near = 0.5 if signature == "rank" else 0.0
        outputs = {"intents": np.array([[b"late", b"pay"]], object), "scores": np.array([[0.75, 0.25]]),
                   "user_intent": np.array([[0.5, 0.25]]), "intent_query": np.array([[near, near]])}  # fmt: skip
        return Answer(outputs, 7)


def reasoner(url, **changes):
    return ReasonerClient(ReasonerClientConfig(url=url, model="cl-1", width=2, **changes))


@pytest.fixture(scope="module")
def url():
    with chat_endpoint.running() as url:
        yield url


def test_with_a_query_it_has_its_part(url, monkeypatch):
    ranker, asked = Ranker(), reasoner(url)
    monkeypatch.setattr(asked, "query", lambda context, seconds: Query(np.array([0.6, 0.8], np.float32), "answered"))
    found = ChatRanking(ranker, asked).rank(FEATURES, "order shipped", 5.0)
    assert found == RankedIntents([("late", 0.75, 0.5, 0.5), ("pay", 0.25, 0.25, 0.5)], "answered", 7)
    [(signature, inputs, timeout)] = ranker.asked
    assert signature == "rank" and inputs["region"] == [3] and 0 < timeout <= 5.0
    assert inputs["query"].tolist() == [pytest.approx([0.6, 0.8])]
    assert "query" not in FEATURES


@pytest.mark.parametrize(("context", "outcome"), [("refuse", "refused"), ("garbage", "malformed"), ("slow", "late")])
def test_without_a_query_the_ranker_answers_alone_within_the_deadline(url, context, outcome):
    ranker, asked = Ranker(), reasoner(url, deadline_ms=60_000)
    started = time.monotonic()
    found = ChatRanking(ranker, asked, reserve_ms=4_000).rank(FEATURES, context, 5.0)
    assert found.query == outcome and found.intents[0] == ("late", 0.75, 0.5, 0.0)
    [(signature, inputs, timeout)] = ranker.asked
    assert signature == "rank_without_query" and inputs == FEATURES
    assert timeout <= 5.0 - (time.monotonic() - started) + 1.0  # what is left, and no more than that
    assert f'reasoner_queries{{outcome="{outcome}"}} 1' in asked.page()


@pytest.mark.parametrize(("name", "signature"), [("", "rank"), ("query", "rank_without_query")])
def test_with_no_reasoner_or_no_query_tower_nobody_is_asked(name, signature):
    ranker = Ranker()
    found = ChatRanking(ranker, None, query=name).rank(FEATURES, "x", 5.0)
    assert found.query == NOBODY and [each[0] for each in ranker.asked] == [signature]
    assert ranker.asked[0][1] == FEATURES and {near for _, _, _, near in found.intents} == {0.0}


def test_the_reasoner_waits_no_longer_than_its_own_deadline(url, monkeypatch):
    asked, waits = reasoner(url, deadline_ms=100), []
    monkeypatch.setattr(asked, "query", lambda context, seconds: waits.append(seconds) or Query(None, "late"))
    ranking = ChatRanking(Ranker(), asked, reserve_ms=50)
    ranking.rank(FEATURES, "x", 5.0)
    ranking.rank(FEATURES, "x", 0.12)
    assert waits == pytest.approx([0.1, 0.07])
    with pytest.raises(ValueError, match="seconds must be above what the ranker keeps"):
        ranking.rank(FEATURES, "x", 0.05)
