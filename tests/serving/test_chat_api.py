"""The endpoint over a ranker that keeps what it is asked; with real ones in tests/antiphon/test_serve_chatbot.py."""

import json
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import chat_run
import grpc
import numpy as np
import pytest
import urllib3
from mutations import mutated

from feature_store.latest_sessions import LatestSessions
from feature_store.request_schema import RequestFeature
from feature_store.verbalise import Verbaliser
from serving.chat_api import ChatApi, ChatParts, entry_points
from serving.chat_ranking import ChatRanking
from serving.config import ChatbotConfig, ServeConfig
from serving.errors import Target, failure
from serving.exported_ranker import ExportedRanker
from serving.http_server import HttpServer
from serving.reasoner_client import Query, ReasonerClientConfig, Words
from serving.rest_api import Response
from serving.status import StatusError
from serving.transport import Answer

TITLES = {"late": "Where is my parcel?", "pay": "Why was my payment declined?"}
FEATURES = (
    RequestFeature("entry_point", "context", dtype="int64", vocabulary="entry_point"),
    RequestFeature("pages", kind="sequence", hash_buckets=8, length=3),
)
ASKED = {"user": "u1", "entry_point": 2, "deadline_ms": 5000, "top": 1}


class Ranker:
    """Stands where a `Client` does."""

    def __init__(self):
        self.asked, self.fails = [], None

    def predict(self, inputs, signature, *, timeout):
        self.asked.append((signature, inputs, timeout))
        if self.fails:
            raise failure(Target("a:1", "qe_rec"), StatusError(self.fails, "no"), 1)
        near = 0.5 if signature == "rank" else 0.0
        outputs = {"intents": np.array([[b"late", b"gone"]], object), "scores": np.array([[7.5, 2.5]]),
                   "user_intent": np.array([[0.5, 0.25]]), "intent_query": np.array([[near, near]])}  # fmt: skip
        return Answer(outputs, 7)


class Reasoner:
    """Stands where a `ReasonerClient` does."""

    def __init__(self):
        self.config = ReasonerClientConfig("http://a/v1", "base", 2)
        self.outcome, self.contexts = "answered", []

    def query(self, context, seconds):
        self.contexts.append(context)
        return Query(np.ones(2, np.float32) if self.outcome == "answered" else None, self.outcome)

    def write(self, context, seconds):
        return Words("Where is it?", "answered")

    def metrics(self):
        return []


@pytest.fixture(scope="module")
def sessions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chat")
    chat_run.data(folder)
    return LatestSessions(folder / "sessions")


@pytest.fixture
def chat(sessions):
    """The endpoint, its ranker and its reasoner."""
    ranker, reasoner = Ranker(), Reasoner()
    about = ExportedRanker("qe_rec", 6, FEATURES, "query", 2, "base", 0.7, "b")
    words = Verbaliser(chat_run.SCHEMA, TITLES)
    places = entry_points(chat_run.SCHEMA, "entry_point")
    parts = ChatParts(about, ChatRanking(ranker, reasoner), reasoner, sessions, words, TITLES, places,
                      lambda: ranker.fails is None)  # fmt: skip
    return ChatApi(parts, ChatbotConfig(), {"/": Response(200, "text/html", b"page")}), ranker, reasoner


def ask(api, asked, path="/v1/chatbot:rank", method="POST"):
    body = asked if isinstance(asked, bytes) else json.dumps(asked).encode()
    found = api.handle(method, path, body)
    return found.status, json.loads(found.body)


def test_a_user_s_newest_session_with_another_entry_point_is_ranked_and_told_why(chat, sessions):
    api, ranker, reasoner = chat
    status, found = ask(api, ASKED)
    row, when = sessions.of("u1")
    assert status == 200 and found.pop("milliseconds") > 0
    assert found == {
        "intents": [{"intent": "late", "title": "Where is my parcel?", "score": 7.5, "user_intent": 0.5,
                     "intent_query": 0.5}],
        "weights": {"user_intent": 0.7, "intent_query": 0.3}, "query": "answered", "known_since": when.isoformat(),
        "ranker": {"model": "qe_rec", "version": 7}, "context": reasoner.contexts[0],
    }  # fmt: skip
    assert "Entry Point: Order Page" in found["context"] and f"{row['days']:g} days" in found["context"]
    [(signature, inputs, _)] = ranker.asked
    assert signature == "rank" and set(inputs) == {"entry_point", "pages", "query"}
    assert inputs["entry_point"].tolist() == [2]
    assert inputs["pages"][0].tolist()[3 - len(row["pages"]) :] == [page.encode() for page in row["pages"]]


def test_a_session_is_taken_as_it_is_given(chat):
    api, ranker, _ = chat
    given = {"session": {"entry_point": 3, "pages": ["Help"], "minutes": [1]}, "deadline_ms": 5000}
    status, found = ask(api, given)
    assert status == 200 and "known_since" not in found
    assert found["context"] == "Behaviour: Recent Pages: ('Help' (1 min ago))\nContext: Entry Point: <b>Refunds</b>"
    assert [each["title"] for each in found["intents"]] == ["Where is my parcel?", "gone"]  # no longer in the base
    assert ranker.asked[0][1]["pages"].tolist() == [[b"", b"", b"Help"]]


def test_without_the_reasoner_s_query_the_answer_says_so_and_is_counted(chat):
    api, ranker, reasoner = chat
    ask(api, ASKED)
    reasoner.outcome = "late"
    status, found = ask(api, ASKED)
    assert (status, found["query"], found["intents"][0]["intent_query"]) == (200, "late", 0.0)
    assert [signature for signature, _, _ in ranker.asked] == ["rank", "rank_without_query"]
    page = api.handle("GET", "/monitoring/prometheus/metrics", b"").body.decode()
    assert ':antiphon:serving:chatbot_rankings{signature="rank"} 1' in page
    assert ':antiphon:serving:chatbot_rankings{signature="rank_without_query"} 1' in page
    assert ':antiphon:serving:chatbot_latency_count{signature="rank_without_query"} 1' in page
    assert ':antiphon:serving:chatbot_requests{method="rank",status="200"} 2' in page


def test_the_query_in_words(chat):
    status, found = ask(chat[0], {"user": "u1"}, "/v1/chatbot:wonder")
    assert (status, found["query"], found["outcome"]) == (200, "Where is it?", "answered")
    assert found["context"].startswith("User Profile") or found["context"].startswith("Behaviour")


def test_queries_that_are_written_out_leave_most_threads_to_the_ranking(chat, monkeypatch):
    api, _, reasoner = chat
    begun, go = threading.Semaphore(0), threading.Event()
    write = lambda context, seconds: begun.release() or go.wait(60) and Words("x", "answered")  # noqa: E731
    monkeypatch.setattr(reasoner, "write", write)
    with ThreadPoolExecutor(4) as threads:
        first = [threads.submit(ask, api, {"user": "u1"}, "/v1/chatbot:wonder") for _ in range(4)]
        for _ in first:
            assert begun.acquire(timeout=60)
        refused = ask(api, {"user": "u1"}, "/v1/chatbot:wonder")
        go.set()
    assert refused == (429, {"error": "As many queries are being written out as may be"})
    assert [each.result()[0] for each in first] == [200] * 4
    assert ask(api, {"user": "u1"}, "/v1/chatbot:wonder")[0] == 200


@pytest.mark.parametrize(
    ("asked", "status", "message"),
    [
        (b"{", 400, "JSON Parse error: Missing a name for object member. at offset: 1"),
        (b"[]", 400, "Is not object"),
        ({}, 400, "One of user and session must be given"),
        ({"user": "u1", "session": {}}, 400, "One of user and session must be given"),
        ({"user": "u1", "colour": 1}, 400, "a field must be one of user, entry_point, session, deadline_ms, top, rec"),
        ({"user": 1}, 400, "user must be a user's id, as text, received 'int'"),
        ({"user": "nobody"}, 404, "There is no session of user 'nobody'"),
        ({"user": "u1", "entry_point": 9}, 400, "entry_point must be one of 1, 2, 3, received '9'"),
        ({"user": "u1", "entry_point": [1]}, 400, "entry_point must be one of 1, 2, 3"),
        ({"session": {}, "entry_point": 1}, 400, "entry_point must be given in the session"),
        ({"session": {"days": "x"}}, 400, "session.days must be a number, received 'x'"),
        ({"user": "u1", "top": 0}, 400, "top must be a whole number from 1 to 20, received '0'"),
        ({"user": "u1", "top": [1] * 999}, 400, "top must be a whole number"),
        ({"user": "u1", "deadline_ms": 50}, 400, "deadline_ms must be above what the ranker keeps (50), received 50"),
        ({"user": "u1", "deadline_ms": 1e9}, 400, "deadline_ms must be at most 10000, received 1000000000.0"),
        (b'{"user": "u1", "deadline_ms": NaN}', 400, "deadline_ms must be at most"),
        ({"user": "u1", "deadline_ms": "5"}, 400, "deadline_ms must be a number"),
    ],
)
def test_what_cannot_be_answered_says_why(chat, asked, status, message):
    found, answer = ask(chat[0], asked)
    assert found == status and message in answer["error"], answer
    assert not chat[1].asked


@pytest.mark.parametrize(
    ("code", "status"),
    [(grpc.StatusCode.UNAVAILABLE, 503), (grpc.StatusCode.DEADLINE_EXCEEDED, 504),
     (grpc.StatusCode.RESOURCE_EXHAUSTED, 503), (grpc.StatusCode.INVALID_ARGUMENT, 500)],
)  # fmt: skip
def test_a_ranker_that_fails_is_told_and_makes_the_endpoint_unwell(chat, code, status):
    api, ranker, _ = chat
    assert ask(api, b"", "/health", "GET")[0] == 200
    ranker.fails = code
    found, answer = ask(api, ASKED)
    assert found == status and answer["error"].startswith(f"The ranker did not answer: {code.name}")
    assert ask(api, b"", "/health", "GET")[0] == 503


def test_paths_and_methods(chat):
    api, _, _ = chat
    assert api.handle("GET", "/", b"").body == b"page"
    assert ask(api, b"", "/nowhere", "GET") == (404, {"error": "There is no /nowhere"})
    assert ask(api, b"", "/v1/chatbot:rank", "GET") == (405, {"error": "/v1/chatbot:rank takes POST"})
    assert ask(api, b"", "/health", "POST")[0] == 405
    status, about = ask(api, b"", "/v1/chatbot", "GET")
    assert (status, about["users"], about["features"]["pages"]) == (200, chat_run.USERS, "texts")
    assert about["entry_points"]["2"] == "Order Page"


def test_an_entry_point_must_be_one_id_with_words():
    assert entry_points(chat_run.SCHEMA, "") == {}
    with pytest.raises(ValueError, match="must be a feature that is one id with words, received 'pages'"):
        entry_points(chat_run.SCHEMA, "pages")
    with pytest.raises(ValueError, match="a feature must be one of region, days"):
        entry_points(chat_run.SCHEMA, "colour")


def test_no_mutated_or_oversize_request_breaks_the_server(chat):
    api, _, _ = chat
    server = HttpServer(api, ServeConfig(rest_port=0, max_request_bytes=4096))
    server.start()
    draw = random.Random(0)
    session = {"region": 1, "days": 2.5, "pages": ["Cart", "é"], "minutes": [1, 2], "clicked_intents": ["late"]}
    bodies = [json.dumps(ASKED).encode(), json.dumps({"session": session, "deadline_ms": 9000}).encode()]
    try:
        with urllib3.HTTPConnectionPool("127.0.0.1", server.port, retries=False, timeout=60) as http:
            for number in range(200):
                body = mutated(bodies[number % 2], draw)
                response = http.request("POST", "/v1/chatbot:rank", body=body)
                assert response.status in (200, 400, 404), (body, response.data)
                assert response.status == 200 or set(response.json()) == {"error"}
            large = http.request("POST", "/v1/chatbot:rank", body=b" " * 4097)
            assert (large.status, large.json()) == (413, {"error": "The request's body is larger than 4096 bytes"})
            assert http.request("POST", "/v1/chatbot:rank", body=bodies[0]).status == 200
    finally:
        server.stop()
