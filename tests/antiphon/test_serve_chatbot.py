import json
import signal
from dataclasses import replace

import pytest
import urllib3

from antiphon import serve_chatbot
from antiphon.config import Config, load
from feature_store import folders
from serving import exported_ranker
from serving.client import Client

LONG, SHORT = 90_000, 20_500
"""Milliseconds: of those that the ranker leaves, the second gives the reasoner half a second."""


def rank(url, **asked):
    answer = urllib3.request("POST", f"{url}/v1/chatbot:rank", json={"user": "u1", **asked}, retries=False, timeout=120)
    assert answer.status == 200, answer.data
    return answer.json()


def fallbacks(url):
    page = urllib3.request("GET", f"{url}/monitoring/prometheus/metrics").data.decode()
    name = ':antiphon:serving:chatbot_rankings{signature="rank_without_query"} '
    return sum(int(line.removeprefix(name)) for line in page.splitlines() if line.startswith(name))


def test_a_query_in_time_counts_and_without_one_the_ranker_answers_alone_and_it_is_counted(chat_service):
    url = chat_service.url
    found = rank(url, deadline_ms=LONG, entry_point=3, top=4)
    assert found["query"] == "answered" and "Entry Point: <b>Refunds</b>" in found["context"]
    assert found["weights"] == {"user_intent": 0.7, "intent_query": 0.3} and len(found["intents"]) == 4
    assert sorted(found["intents"], key=lambda each: -each["score"]) == found["intents"]
    eq_4 = [0.7 * each["user_intent"] + 0.3 * each["intent_query"] for each in found["intents"]]
    temperature = eq_4[0] / found["intents"][0]["score"]
    assert [each["score"] * temperature for each in found["intents"]] == pytest.approx(eq_4, abs=1e-4)
    before, alone = fallbacks(url), None
    chat_service.reasoner.send_signal(signal.SIGSTOP)  # it takes connections and says nothing
    try:
        alone = rank(url, deadline_ms=SHORT, entry_point=3, top=4)
    finally:
        chat_service.reasoner.send_signal(signal.SIGCONT)
    assert alone["query"] == "late" and 500 <= alone["milliseconds"] < SHORT
    assert {each["intent_query"] for each in alone["intents"]} == {0.0}
    users = {each["intent"]: each["user_intent"] for each in found["intents"]}
    assert {each["intent"]: each["user_intent"] for each in alone["intents"]} == pytest.approx(users, abs=1e-5)
    assert fallbacks(url) == before + 1
    assert rank(url, deadline_ms=LONG, entry_point=3, top=4)["intents"] == found["intents"]


@pytest.mark.parametrize(
    ("chatbot", "outcome"),
    [({"reasoner": "http://127.0.0.1:9/v1"}, "down"), ({"reasoner_model": "cl-9"}, "refused"),
     ({"reasoner": ""}, "nobody")],
)  # fmt: skip
def test_a_reasoner_that_is_gone_or_another_or_none(chat_service, chat_config, chatbot, outcome):
    config = load(chat_config)
    own = replace(config.chatbot, **{"reasoner": chat_service.reasoner_url, **chatbot})
    config = replace(config, chatbot=own)
    ranker = exported_ranker.newest(serve_chatbot.versions(config))
    with (
        Client(chat_service.ranker, ranker.model) as client,
        serve_chatbot.answering(config, ranker, client) as api,
    ):
        answer = json.loads(api.handle("POST", "/v1/chatbot:rank", b'{"user": "u2"}').body)
        assert answer["query"] == outcome and len(answer["intents"]) == 3
        assert {each["intent_query"] for each in answer["intents"]} == {0.0}
        assert api.handle("GET", "/health", b"").status == 200


def test_an_oversize_request_and_a_path_that_is_not_there_are_refused(chat_service):
    refused = urllib3.request("POST", f"{chat_service.url}/v1/chatbot:rank", body=b" " * (1 << 20) + b"{}")
    assert (refused.status, refused.json()) == (413, {"error": "The request's body is larger than 1048576 bytes"})
    missing = urllib3.request("GET", f"{chat_service.url}/v1/models")
    assert (missing.status, missing.json()) == (404, {"error": "There is no /v1/models"})


def test_the_ranker_of_the_newest_aligned_round_is_served_and_exported_once(chat_config, tmp_path):
    config = load(chat_config)
    run = config.folder
    moved = replace(config, runs=str(tmp_path))
    rankers = moved.folder / "align" / "1" / "rankers"
    (rankers / "all").mkdir(parents=True)
    (rankers / "all" / "requests").symlink_to(run / "requests")
    (rankers / "all" / "model").symlink_to(run / "models" / "qe_rec")
    with pytest.raises(ValueError, match="there is no exported model"):
        serve_chatbot.versions(moved)  # the round is not whole
    folders.write_manifest(rankers, {"kind": "chat_rankers"})
    found = serve_chatbot.versions(moved)
    assert found == rankers.parent / "export" / folders.version(rankers) / "qe_rec"
    assert exported_ranker.newest(found).version == 1
    assert serve_chatbot.versions(moved) == found and [path.name for path in found.iterdir()] == ["1"]


def test_the_reasoner_is_where_the_service_listens_unless_a_url_or_nobody_is_named():
    config = Config("chat")
    assert serve_chatbot.reasoner_url(config) == "http://127.0.0.1:8700/v1"
    moved = replace(config, service=replace(config.service, host="::1", port=9))
    assert serve_chatbot.reasoner_url(moved) == "http://[::1]:9/v1"
    for named in ("http://elsewhere:1/v1", ""):
        other = replace(moved, chatbot=replace(config.chatbot, reasoner=named))
        assert serve_chatbot.reasoner_url(other) == named
    free = replace(config, service=replace(config.service, port=0))
    with pytest.raises(ValueError, match="chatbot.reasoner must be a URL where service.port is 0"):
        serve_chatbot.reasoner_url(free)


def test_what_cannot_be_served_is_told_before_anything_is_loaded(chat_config):
    with pytest.raises(ValueError, match="chat.path must be given: the run has no chatbot"):
        serve_chatbot.run(Config("none"))
    config = load(chat_config)
    ranker = replace(exported_ranker.newest(serve_chatbot.versions(config)), intents="other")
    with pytest.raises(ValueError, match="the ranker's base of intents must be the run's"):
        serve_chatbot.answering(config, ranker, None).__enter__()
    ranker = exported_ranker.newest(serve_chatbot.versions(config))
    other = replace(config, chatbot=replace(config.chatbot, entry_point="colour"))
    with pytest.raises(ValueError, match="a feature must be one of region"):
        serve_chatbot.answering(other, ranker, None).__enter__()
