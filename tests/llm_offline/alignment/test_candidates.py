import json

import pyarrow as pa
import pytest

from feature_store import alignment_tables
from feature_store.errors import DataError
from llm_offline.alignment import candidates
from llm_offline.alignment.candidates import outcome, parse, run

QUESTION = "Where is my parcel that was sent nine days ago now?"


class Told:
    """A teacher who writes what it is told to, and counts what it is asked."""

    def __init__(self, text, samples=1, source="told", stop_at=""):
        self.source, self.samples, self._text, self._stop_at = source, samples, text, stop_at
        self.asked = []

    def write(self, sessions):
        if any(session.session_id == self._stop_at for session in sessions):
            raise KeyboardInterrupt("stopped")
        self.asked += [session.session_id for session in sessions]
        return [[f"{self._text} {n}".strip() for n in range(self.samples)] for _ in sessions]


@pytest.mark.parametrize(
    ("answer", "query"),
    [
        (QUESTION, QUESTION),
        (f'"{QUESTION}"\n', QUESTION),
        (f"The user question is: {QUESTION}", QUESTION),
        (f"Question: “{QUESTION}”\nI hope this helps!", QUESTION),
        (f"<think>They wait.\n\nSo:</think>\n\nThe customer's question is: **{QUESTION}**", QUESTION),
        ("<think>They wait and", ""),
        ("\n  \n", ""),
        ("Output:\nWhere   is it?", "Where is it?"),
        ("What is the question: is it late?", "What is the question: is it late?"),
    ],
)
def test_the_question_is_found_in_an_answer(answer, query):
    assert parse(answer) == query


@pytest.mark.parametrize(
    ("words", "found"), [(0, "empty"), (1, "short"), (9, "short"), (10, "kept"), (20, "kept"), (21, "long")]
)
def test_a_question_has_ten_to_twenty_words(words, found):
    assert outcome(" ".join(["word"] * words)) == found


def test_every_teacher_s_texts_are_kept_with_where_they_came_from(chat_sessions, tmp_path):
    teachers = {"own": Told(QUESTION, 2, "smollm2"), "big": Told("", 1, "gpt")}
    summary = run(chat_sessions, tmp_path / "c", teachers, ["own"], limit=3)
    assert json.loads(json.dumps(summary)) == summary
    assert (summary["sessions"], summary["candidates"], summary["asked"], summary["reused"]) == (3, 9, 9, 0)
    assert summary["outcomes"] == {"own": {"kept": 6}, "big": {"short": 3}}
    rows = alignment_tables.read(tmp_path / "c", "candidates", "candidates").to_pylist()
    keys = [(row["session_id"], row["candidate"]) for row in rows]
    assert keys == [(f"s0{n}", c) for n in range(3) for c in ("big/0", "own/0", "own/1")]
    assert rows[1] | {"asked": ""} == {
        "session_id": "s00", "candidate": "own/0", "teacher": "own", "own": True, "query": f"{QUESTION} 0", "words": 12,
        "outcome": "kept", "answer": f"{QUESTION} 0", "source": "smollm2", "asked": "",
    }  # fmt: skip
    assert alignment_tables.read_manifest(tmp_path / "c", "candidates")["teachers"] == {"own": "smollm2", "big": "gpt"}
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_nothing_is_asked_twice(chat_sessions, tmp_path):
    run(chat_sessions, tmp_path / "c", {"own": Told(QUESTION, 2)}, ["own"], limit=3)
    more = {"own": Told(QUESTION, 2), "big": Told(QUESTION, source="gpt")}
    summary = run(chat_sessions, tmp_path / "c", more, ["own"])
    assert (summary["asked"], summary["reused"]) == (7 * 2 + 10, 6)
    assert (len(more["own"].asked), len(more["big"].asked)) == (7, 10)  # test sessions are never asked about
    other = {"own": Told(QUESTION, 2, "another adapter"), "big": more["big"]}
    assert run(chat_sessions, tmp_path / "c", other, ["own"])["asked"] == 20


def test_a_run_that_was_stopped_goes_on_where_it_was(chat_sessions, tmp_path, monkeypatch):
    monkeypatch.setattr(candidates, "_BATCH", 4)
    with pytest.raises(KeyboardInterrupt):
        run(chat_sessions, tmp_path / "c", {"own": Told(QUESTION, stop_at="s09")}, ["own"])
    assert not (tmp_path / "c").exists()
    teacher = Told(QUESTION)
    assert run(chat_sessions, tmp_path / "c", {"own": teacher}, ["own"])["asked"] == 2
    assert teacher.asked == ["s08", "s09"]


def test_a_split_without_sessions_is_an_error(chat_sessions, tmp_path):
    with pytest.raises(DataError, match=r"field 'split': there is no session with a text and a label \(got 'valid'\)"):
        run(chat_sessions, tmp_path / "c", {"own": Told("")}, ["own"], split="valid")


def test_a_session_without_a_label_could_not_be_rewarded_and_is_not_asked_about(chat_sessions, tmp_path):
    tables = {name: alignment_tables.read(chat_sessions, "session_texts", name) for name in ("sessions", "intents")}
    labels = [[] if n == 3 else row["intents"] for n, row in enumerate(tables["sessions"].to_pylist())]
    tables["sessions"] = tables["sessions"].set_column(3, "intents", pa.array(labels))
    alignment_tables.write(tmp_path / "s", "session_texts", tables, {})
    teacher = Told(QUESTION)
    run(tmp_path / "s", tmp_path / "c", {"own": teacher}, ["own"], limit=4)
    assert teacher.asked == ["s00", "s01", "s02", "s04"]
