import asyncio
import json
import threading

import pytest

from llm_offline.service.api import Api, Metrics, Refused, parse_body
from llm_offline.service.batcher import Batcher


@pytest.fixture
def ask():
    """Asks an API whose vectors are the prompts' lengths."""
    metrics = Metrics()
    batcher = Batcher(lambda items: [[float(len(item))] for item in items], 4, 0.0, 8, metrics.of_batch)
    tokenize = lambda prompt: list(prompt if isinstance(prompt, str) else prompt[0][-1]["content"])  # noqa: E731
    api = Api("cl-1", {"weights": "int8"}, tokenize, batcher, metrics, deadline=30.0)

    def one(method, path, body=None, headers=None):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = asyncio.run(api.handle(method, path, headers or {}, content))
        return answer.status, answer.body.decode()

    yield one, api
    batcher.close()


def test_texts_and_conversations_are_embedded(ask):
    one, _ = ask
    status, body = one("POST", "/v1/embeddings", {"model": "cl-1", "input": ["abc", "a"]})
    answer = json.loads(body)
    assert status == 200 and answer["model"] == "cl-1" and answer["usage"]["prompt_tokens"] == 4
    assert [(each["index"], each["embedding"]) for each in answer["data"]] == [(0, [3.0]), (1, [1.0])]
    said = [{"role": "system", "content": "x"}, {"role": "user", "content": "hello"}]
    _, body = one("POST", "/v1/embeddings", {"model": "cl-1", "messages": said, "add_generation_prompt": True})
    assert json.loads(body)["data"][0]["embedding"] == [5.0]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"{", 400, "the body must be JSON"),
        ({"input": "a"}, 400, "model: must be given"),
        ({"model": "cl-1"}, 400, "one of input and messages"),
        ({"model": "cl-1", "input": []}, 400, "input: must be a text or a list of texts"),
        ({"model": "cl-1", "input": ""}, 400, "input: a text has no tokens"),
        ({"model": "cl-1", "messages": [{"role": "user"}]}, 400, "messages: must be a list of objects"),
        ({"model": "cl-1", "input": "a", "encoding_format": "base64"}, 400, "encoding_format: must be 'float'"),
        ({"model": "cl-0", "input": "a"}, 404, "model: must be 'cl-1', received 'cl-0'"),
    ],
)
def test_what_cannot_be_answered_says_why(ask, body, status, message):
    one, _ = ask
    found, answer = one("POST", "/v1/embeddings", body)
    assert found == status and message in json.loads(answer)["error"]["message"]


def test_a_deadline_is_kept(ask):
    one, _ = ask
    asked = {"model": "cl-1", "input": "a"}
    assert one("POST", "/v1/embeddings", asked, {"x-deadline-ms": "0.0001"})[0] == 504
    assert one("POST", "/v1/embeddings", asked, {"x-deadline-ms": "soon"})[0] == 400
    assert one("POST", "/v1/embeddings", asked, {"x-deadline-ms": "30000"})[0] == 200


def test_health_models_and_metrics(ask):
    one, api = ask
    one("POST", "/v1/embeddings", {"model": "cl-1", "input": ["a", "b"]})
    assert json.loads(one("GET", "/health")[1]) == {"status": "ok", "model": "cl-1", "weights": "int8"}
    assert json.loads(one("GET", "/v1/models")[1])["data"] == [{"id": "cl-1", "object": "model"}]
    page = one("GET", "/metrics")[1]
    assert 'antiphon_reasoner_requests_total{status="200"} 1.0' in page
    assert "antiphon_reasoner_batch_size_sum 2.0" in page
    api.draining = True
    assert one("GET", "/health")[0] == 503
    assert one("GET", "/v1/embeddings")[0] == 405 and one("GET", "/nowhere")[0] == 404


def test_a_conversation_says_whether_the_answer_is_to_begin():
    said = [{"role": "user", "content": "a"}]
    assert parse_body(json.dumps({"model": "m", "messages": said}).encode()).prompts == [(said, False)]
    with pytest.raises(Refused):
        parse_body(b"[]")


def test_a_conversation_is_answered_in_words_in_turn_and_what_is_too_late_is_not_written():
    go, written = threading.Event(), []

    def write(messages):
        assert go.wait(60)
        written.append(messages[-1]["content"])
        return written[-1].upper()

    async def all_of_them():
        batcher = Batcher(lambda items: items, 1, 0.0, 1)
        api = Api("cl-1", {}, list, batcher, Metrics(), 30.0, write)

        def one(text, milliseconds):
            said = {"model": "cl-1", "messages": [{"role": "user", "content": text}]}
            headers = {"x-deadline-ms": str(milliseconds)}
            return asyncio.ensure_future(api.handle("POST", "/v1/chat/completions", headers, json.dumps(said).encode()))

        late = await one("first", 50)  # it is begun, and written to its end
        never, answered = one("second", 1), one("third", 60_000)
        await never
        go.set()
        texts = await api.handle("POST", "/v1/chat/completions", {}, b'{"model": "cl-1", "input": "a"}')
        found = [late, await never, await answered, texts]
        batcher.close()
        return found

    late, never, answered, texts = asyncio.run(all_of_them())
    assert (late.status, never.status, answered.status, texts.status) == (504, 504, 200, 400)
    assert json.loads(answered.body)["choices"][0]["message"]["content"] == "THIRD"
    assert written == ["first", "third"]


def test_a_service_that_does_not_write_says_so(ask):
    assert ask[0]("POST", "/v1/chat/completions", {"model": "cl-1"})[0] == 404
