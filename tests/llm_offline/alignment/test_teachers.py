import json

import chat_endpoint
import pytest

from feature_store.errors import DataError
from llm_offline.alignment.reasoner import session_prompt
from llm_offline.alignment.teachers import Session, teacher
from llm_offline.alignment_config import ReasonerConfig, TeacherConfig
from llm_offline.config import GenerateConfig
from llm_offline.generator import Generator

SESSIONS = [Session("s1", "order shipped"), Session("s2", "card failed")]


@pytest.fixture
def reasoner(chat_llm):
    return ReasonerConfig(model=str(chat_llm), max_tokens=1024, max_new_tokens=5)


def test_the_reasoner_writes_as_its_model_does(reasoner):
    asked = teacher(TeacherConfig(samples=2, temperature=0.8), reasoner)
    written = asked.write(SESSIONS)
    assert [len(texts) for texts in written] == [2, 2] and written[0][0] != written[0][1]
    alone = teacher(TeacherConfig(samples=2, temperature=0.8), reasoner).write(SESSIONS[1:])
    assert alone == written[1:]
    greedy = teacher(TeacherConfig(), reasoner).write(SESSIONS)
    answers = Generator(reasoner.writer()).answer([session_prompt(session.text) for session in SESSIONS])
    assert greedy == [[answer] for answer in answers]
    assert "/base/temperature=0.8" in asked.source


def test_a_model_of_a_folder_is_a_teacher(reasoner, chat_llm):
    generate = GenerateConfig(model=str(chat_llm), max_tokens=1024, max_new_tokens=5)
    other = teacher(TeacherConfig(kind="model", generate=generate), reasoner)
    assert other.write(SESSIONS) == teacher(TeacherConfig(), reasoner).write(SESSIONS)


def test_an_endpoint_is_a_teacher(reasoner):
    with chat_endpoint.running() as url:
        config = TeacherConfig(kind="endpoint", url=url, model="m1", samples=2, temperature=1.0)
        asked = teacher(config, reasoner)
        written = asked.write(SESSIONS)
    assert [[text.split(":")[0] for text in texts] for texts in written] == [["2 1.0 0", "2 1.0 1"]] * 2
    assert asked.source == f"{url}#m1/max_tokens=64/temperature=1"


def test_recorded_queries_come_by_session_in_their_order(reasoner, tmp_path):
    path = tmp_path / "gpt.jsonl"
    lines = [("s2", "first"), ("s1", "only"), ("s2", "second"), ("s2", "third")]
    path.write_text("\n".join(json.dumps({"session_id": s, "query": q}) for s, q in lines) + "\n")
    recorded = teacher(TeacherConfig(kind="file", file=str(path), samples=2), reasoner)
    assert recorded.write([*SESSIONS, Session("s3", "")]) == [["only", ""], ["first", "second"], ["", ""]]
    assert recorded.source.startswith("file=gpt.jsonl@")
    path.write_text('{"session_id": "s1"}\n')
    with pytest.raises(DataError, match="line 1 must be JSON with session_id and query"):
        teacher(TeacherConfig(kind="file", file=str(path)), reasoner)
    with pytest.raises(DataError, match="no such file of recorded queries"):
        teacher(TeacherConfig(kind="file", file=str(tmp_path / "none")), reasoner)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "oracle"}, "kind must be one of"),
        ({"samples": 2}, "samples must be 1 at temperature 0, received 2"),
        ({"kind": "endpoint", "url": "localhost", "model": "m"}, "url must begin with http"),
        ({"kind": "endpoint", "url": "http://x"}, "model must be given, received ''"),
        ({"kind": "file"}, "file must be given, received ''"),
    ],
)
def test_a_teacher_that_cannot_be_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        TeacherConfig(**settings)
