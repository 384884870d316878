import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_jobs import refresh
from beam_jobs.options import BeamConfig
from feature_store import folders, selected_prompts, user_knowledge
from feature_store.errors import DataError
from llm_offline.config import LlmConfig
from llm_offline.knowledge import logged
from llm_offline.knowledge.reasoner import Question
from llm_offline.knowledge.state import Checkpoints
from llm_offline.knowledge.titles import read_titles

CODES = np.random.default_rng(3).normal(size=(5, 12)).astype(np.float32)
USERS = ["ann", "bob", "cy"]
COUNTS = ("examples", "refreshed_examples", "users", "refreshed_users")


def prompts(users, moved=0.0):
    """Two examples a user, in pieces of two rows."""
    rows = [
        {
            "user_id": user, "split": split, "label_time": 5, "weights": [1.0] * number,
            "history": [1, 2, 5][: 1 + (number + len(split)) % 3], "codes": [number, 4][:number],
        }
        for number, user in enumerate(USERS) for split in ("train", "valid") if user in users
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, selected_prompts.SCHEMA), CODES + np.float32(moved)


@pytest.fixture
def place(make_tables, tiny_llm, tmp_path):
    """Tables, vocabulary, a first adapter, and what runs the job on a round's prompts."""
    tables, vocabulary, adapters = make_tables(), tmp_path / "item.txt", tmp_path / "llm"
    vocabulary.write_text("".join(json.dumps(f"i{n}") + "\n" for n in range(1, 6)))
    llm = LlmConfig(str(tiny_llm), max_tokens=20, batch_tokens=64, d=4, heads=2, rank=2, learning_rate=0.5)
    logged.begin(read_titles(tables, vocabulary), adapters, llm)

    def run(number, users, step=0, previous=None, moved=0.0, write=True):
        asked = tmp_path / f"prompts-{number}"
        if write:
            rows, codes = prompts(users, moved)
            described, before = {"parts": 3, "events": "e"}, previous and tmp_path / f"prompts-{number - 1}"
            pieces = [rows.slice(first, 2) for first in range(0, len(rows), 2)]
            selected_prompts.write(asked, pieces, codes, CODES[:1], number, described, before)
        out = tmp_path / f"users-{number}"
        return refresh.run(tables, vocabulary, asked, adapters, step, out, llm, BeamConfig(), previous), out

    run.learner = lambda: logged.learner(read_titles(tables, vocabulary), adapters, llm)
    run.adapters = adapters
    return run


def table(folder):
    manifest = folders.read_manifest(folder)
    return pa.concat_tables(pq.read_table(folder / part["file"]) for part in manifest["files"])


def known(mine, folder):
    """What a learner says to the prompts in a folder, by example."""
    asked = selected_prompts.SelectedPrompts(folder)
    rows = pa.concat_tables(pq.read_table(file) for file in selected_prompts.rows_of(folder)).combine_chunks()
    question = Question(*asked.vectors(rows), None)
    keys = zip(rows["user_id"].to_pylist(), rows["split"].to_pylist(), strict=True)
    return dict(zip(keys, zip(mine.know(question), question.mask, strict=True), strict=True))


def test_the_job_s_vectors_are_those_of_the_learner(place, tmp_path):
    summary, out = place(0, USERS)
    assert [summary[name] for name in COUNTS] == [6, 6, 3, 3]
    assert user_knowledge.read_folder(out)["parts"] == 3
    expected = known(place.learner(), tmp_path / "prompts-0")
    rows = table(out).to_pylist()
    assert [tuple(row[name] for name in user_knowledge.KEYS) for row in rows] == sorted(
        (*key, 5, part) for key in expected for part in range(3)
    )
    for row in rows:
        vectors, mask = expected[row["user_id"], row["split"]]
        assert (row["vector"] is not None) == mask[row["part"]]
        if row["vector"]:
            np.testing.assert_allclose(row["vector"], vectors[row["part"]], rtol=0, atol=1e-6)


def test_only_users_with_new_prompts_are_computed_and_the_others_keep_what_was_known(place, tmp_path):
    _, first = place(0, USERS)
    mine = place.learner()
    asked = Question(np.ones((1, 1, 12), np.float32), np.ones((1, 1), bool), np.ones((1, 1), np.int32), None)
    mine.learn(1, asked, np.ones((1, 1, 4), np.float32))
    Checkpoints(place.adapters).save(mine, 0, 1, asked=True)
    summary, second = place(1, ["bob"], 1, first, moved=0.5)
    assert [summary[name] for name in COUNTS] == [6, 2, 3, 1]
    before, after = ({(r["user_id"], r["split"], r["part"]): r for r in table(f).to_pylist()} for f in (first, second))
    expected = known(mine, tmp_path / "prompts-1")
    assert after.keys() == before.keys()
    for (user, split, part), row in after.items():
        if user != "bob":
            assert row == before[user, split, part]
            continue
        assert row["adapter_version"] == summary["adapter_version"] != before[user, split, part]["adapter_version"]
        vectors, mask = expected[user, split]
        assert (row["vector"] is not None) == mask[part]
        if row["vector"]:
            np.testing.assert_allclose(row["vector"], vectors[part], rtol=0, atol=1e-6)


def test_where_nobody_was_failed_all_is_as_it_was(place):
    _, first = place(0, USERS)
    summary, second = place(1, [], 0, first)
    assert [summary[name] for name in COUNTS] == [6, 0, 3, 0] and summary["users_per_second"] == 0
    assert table(second).equals(table(first))


def test_a_job_that_was_stopped_computes_what_is_left(place, monkeypatch):
    _, whole = place(0, USERS)
    expected = table(whole)
    asked = []

    def counted(oracle, rows):
        asked.append(len(rows))
        if len(asked) == 2:
            raise RuntimeError("stopped")
        return knowledge(oracle, rows)

    knowledge = refresh._Oracle.knowledge
    monkeypatch.setattr(refresh._Oracle, "knowledge", counted)
    shutil.rmtree(whole)
    with pytest.raises(RuntimeError, match="stopped"):
        place(0, USERS, write=False)
    assert not whole.exists()
    place(0, USERS, write=False)
    assert asked == [2, 2, 2, 2]  # one was kept, of three
    assert table(whole).equals(expected)


def test_knowledge_that_is_not_of_every_example_or_of_other_events_is_refused(place, tmp_path):
    _, first = place(0, ["ann", "bob"])
    manifest = tmp_path / "prompts-0" / "MANIFEST.json"
    written = json.loads(manifest.read_text())
    for change, rule in (({"rows": 5}, "must have 5 examples with 3 rows each"), ({"events": "f"}, "other events")):
        manifest.write_text(json.dumps({**written, **change}))
        with pytest.raises(DataError, match=rule):
            place(0, [], previous=first if "events" in change else None, write=False)
