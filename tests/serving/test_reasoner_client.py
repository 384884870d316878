import signal
import time

import chat_endpoint
import numpy as np
import pytest
import reasoner_process
import urllib3

from serving.reasoner_client import ReasonerClient, ReasonerClientConfig, Words

CONTEXT = "order shipped, 9 days ago"


def client(url, **changes):
    settings = {"url": url, "model": "base", "width": 16, "deadline_ms": 60_000}
    return ReasonerClient(ReasonerClientConfig(**settings | changes))


@pytest.fixture(scope="module")
def broken():
    """A server that answers nothing as it should."""
    with chat_endpoint.running() as url:
        yield url


def test_a_query_is_the_reasoner_s_and_a_service_that_stops_or_dies_costs_the_deadline_at_most(chat_llm, tmp_path):
    from llm_offline.alignment.reasoner import Reasoner, session_prompt
    from llm_offline.alignment_config import ReasonerConfig
    from llm_offline.generator import Generator

    with reasoner_process.running(chat_llm, tmp_path, weights="float32") as (process, url, name):
        assert name == "base"
        asked = client(url)
        found = asked.query(CONTEXT)
        assert found.outcome == "answered"
        expected, _ = Reasoner(ReasonerConfig(model=str(chat_llm), max_tokens=1024)).of_sessions([CONTEXT])
        np.testing.assert_allclose(found.vector, expected[0], atol=1e-4)
        written = Generator(ReasonerConfig(model=str(chat_llm)).writer()).answer([session_prompt(CONTEXT)])
        assert asked.write(CONTEXT, 60.0) == Words(written[0], "answered")
        assert client(url, model="cl-1").query(CONTEXT).outcome == "refused"  # of another adapter
        assert client(url, width=17).query(CONTEXT).outcome == "malformed"
        health = urllib3.request("GET", url.removesuffix("/v1") + "/health").json()
        assert (health["status"], health["weights"], health["adapter_version"]) == ("ok", "float32", "base")

        process.send_signal(signal.SIGSTOP)  # it accepts connections and says nothing
        started = time.monotonic()
        assert asked.query(CONTEXT, seconds=0.3).outcome == "late"
        assert time.monotonic() - started >= 0.3
        process.send_signal(signal.SIGCONT)
        assert asked.query(CONTEXT).outcome == "answered"

        process.send_signal(signal.SIGKILL)
        process.wait()
        gone = asked.query(CONTEXT)
        assert (gone.vector, gone.outcome) == (None, "down")
        assert asked.write(CONTEXT, 60.0) == Words("", "down")
    page = asked.page()
    for outcome, count in (("answered", 2), ("late", 1), ("down", 1)):
        assert f':antiphon:serving:reasoner_queries{{outcome="{outcome}"}} {count}' in page


def test_the_service_ends_in_good_order(chat_llm, tmp_path):
    with reasoner_process.running(chat_llm, tmp_path) as (process, url, _):
        assert client(url).query(CONTEXT).outcome == "answered"  # 8-bit weights
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) in (0, 130)


@pytest.mark.parametrize(("context", "outcome"), [("refuse", "refused"), ("garbage", "malformed"), ("hello", "down")])
def test_what_goes_wrong_is_told_apart(broken, context, outcome):
    found = client(broken).query(context)
    assert (found.vector, found.outcome) == (None, outcome)


@pytest.mark.parametrize(
    ("context", "outcome"), [("refuse", "refused"), ("garbage", "malformed"), ("hello", "answered"), ("slow", "late")]
)
def test_so_it_is_when_a_query_is_written(broken, context, outcome):
    found = client(broken).write(context, 0.5 if context == "slow" else 60.0)
    assert (found.outcome, bool(found.text)) == (outcome, outcome == "answered")


def test_a_slow_server_is_late_and_so_is_who_finds_no_room(broken):
    asked = client(broken, parallel=1)
    assert asked.query("slow", seconds=0.2).outcome == "late"
    assert asked.query("hello", seconds=5.0).outcome in ("late", "down")  # the first one may still be under way
    assert asked.query("hello", seconds=-1.0).outcome == "late"


def test_after_failures_in_succession_nobody_is_asked_for_a_while():
    with chat_endpoint.running() as url:
        pass
    asked = client(url, failures=2, rest_seconds=60.0)
    assert [asked.query(CONTEXT).outcome for _ in range(4)] == ["down", "down", "rested", "rested"]
    briefly = client(url, failures=1, rest_seconds=0.0)
    assert [briefly.query(CONTEXT).outcome for _ in range(2)] == ["down", "down"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"url": "localhost"}, "url must begin with http"),
        ({"deadline_ms": 0}, "deadline_ms must be above 0"),
        ({"api_key": "NO_SUCH_KEY"}, "api_key must name an environment variable that is set"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        client(**{"url": "http://localhost/v1", **changes})
