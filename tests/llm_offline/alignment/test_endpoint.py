import chat_endpoint
import pytest
import urllib3

from llm_offline.alignment.endpoint import Endpoint, EndpointError
from llm_offline.alignment_config import TeacherConfig
from llm_offline.chat import Prompt


@pytest.fixture(scope="module")
def url():
    with chat_endpoint.running() as url:
        yield url


def endpoint(url, waits=None, **changes):
    config = TeacherConfig(kind="endpoint", url=url, model="m1", **changes)
    return Endpoint(config, (waits if waits is not None else []).append)


def seen(url):
    return urllib3.request("GET", url.removesuffix("/v1") + "/requests").json()


def test_answers_come_in_the_order_of_the_prompts(url):
    prompts = [Prompt(f"number {n}", "be brief", temperature=0.5, draw=n) for n in range(20)]
    assert endpoint(url).answer(prompts) == [f"2 0.5 {n}: number {n}" for n in range(20)]


def test_the_request_is_openai_s(url, monkeypatch):
    monkeypatch.setenv("TEACHER_KEY", "abc")
    assert endpoint(url + "/", api_key="TEACHER_KEY", max_new_tokens=7).answer([Prompt("hello")]) == ["1 0.0 0: hello"]
    last = seen(url)["last"]
    assert last["path"] == "/v1/chat/completions" and last["key"] == "Bearer abc"
    said = [{"role": "user", "content": "hello"}]
    assert last["body"] == {"model": "m1", "messages": said, "max_tokens": 7, "temperature": 0.0, "seed": 0}


def test_a_server_that_is_busy_is_asked_again_after_waits_that_double():
    waits = []
    with chat_endpoint.running(failures=3) as url:
        assert endpoint(url, waits, retries=3).answer([Prompt("hello")]) == ["1 0.0 0: hello"]
        assert seen(url)["requests"] == 4
    assert len(waits) == 3
    assert all(0.125 * 2**n <= wait <= 0.25 * 2**n for n, wait in enumerate(waits))


def test_after_the_last_try_the_error_tells_what_came():
    with chat_endpoint.running(failures=9) as url:
        with pytest.raises(EndpointError, match="no answer in 2 tries; the last: status 503: .*start"):
            endpoint(url, retries=1).answer([Prompt("hello")])
        assert seen(url)["requests"] == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [("refuse", "status 400: .*no such model"), ("garbage", r"must hold choices\[0\].message.content, received")],
)
def test_what_would_come_again_is_an_error_at_once(url, text, message):
    before, waits = seen(url)["requests"], []
    with pytest.raises(EndpointError, match=message):
        endpoint(url, waits).answer([Prompt(text)])
    assert seen(url)["requests"] == before + 1 and waits == []


def test_a_server_that_is_slow_or_gone_is_an_error_that_says_so(url):
    with pytest.raises(EndpointError, match="no answer in 1 tries; the last: ReadTimeoutError"):
        endpoint(url, retries=0, timeout_seconds=0.2).answer([Prompt("slow")])
    with chat_endpoint.running() as gone:
        pass
    with pytest.raises(EndpointError, match="no answer in 2 tries; the last: NewConnectionError"):
        endpoint(gone, retries=1).answer([Prompt("hello")])


def test_a_key_that_is_not_there_is_an_error_before_anything_is_asked(url, monkeypatch):
    monkeypatch.delenv("NO_KEY", raising=False)
    with pytest.raises(ValueError, match="teacher.api_key: the environment variable NO_KEY is not set"):
        endpoint(url, api_key="NO_KEY")
