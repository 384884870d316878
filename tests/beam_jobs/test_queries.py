import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from written import rows_of

from beam_jobs import queries
from beam_jobs.options import BeamConfig
from feature_store import alignment_tables
from feature_store.errors import DataError
from llm_offline import adapter
from llm_offline.alignment.reasoner import Reasoner, reasoner_id
from llm_offline.alignment_config import ReasonerConfig
from llm_offline.identity import model_id


@pytest.fixture
def config(chat_llm):
    return ReasonerConfig(model=str(chat_llm), max_tokens=1024)


def make_adapter(config, out, seed=0):
    """An adapter of random weights for every query and value projection."""
    torch.manual_seed(seed)
    shapes = {"q_proj": (16, 16), "v_proj": (8, 16)}
    weights = {}
    for layer in range(2):
        for name, (width, into) in shapes.items():
            place = f"model.layers.{layer}.self_attn.{name}"
            weights[f"{place}.lora_A.default.weight"] = torch.randn(2, into)
            weights[f"{place}.lora_B.default.weight"] = torch.randn(width, 2)
    adapter.write(out, weights, config.model, model_id(config), 4.0, "sft", {})
    return out


def test_every_session_gets_the_reasoner_s_vector(chat_sessions, config, tmp_path):
    out = tmp_path / "queries"
    summary = queries.of_sessions(chat_sessions, out, config, BeamConfig())
    assert json.loads(json.dumps(summary)) == summary
    assert (summary["rows"], summary["computed"], summary["width"]) == (12, 12, 16)
    rows = rows_of(out)
    assert list(rows[0]) == ["session_id", "content_hash", "model_id", "adapter_version", "query", "vector"]
    texts = alignment_tables.read(chat_sessions, "session_texts", "sessions")["text"].to_pylist()
    expected, _ = Reasoner(config).of_sessions(texts)
    np.testing.assert_allclose([row["vector"] for row in rows], expected, atol=1e-4)
    assert {(row["model_id"], row["adapter_version"]) for row in rows} == {(reasoner_id(config), "base")}


def test_another_adapter_s_vectors_are_computed_and_never_mixed_in(chat_sessions, config, tmp_path, monkeypatch):
    out, tuned = tmp_path / "queries", make_adapter(config, tmp_path / "adapter")
    queries.of_sessions(chat_sessions, out, config, BeamConfig())
    before = rows_of(out)
    summary = queries.of_sessions(chat_sessions, out, config, BeamConfig(), tuned)
    assert (summary["computed"], summary["reused"]) == (12, 0)
    after = rows_of(out)
    assert {row["adapter_version"] for row in after} == {adapter.version_of(tuned)}
    assert np.abs(np.subtract(before[0]["vector"], after[0]["vector"])).max() > 1e-3
    monkeypatch.setattr(queries, "Reasoner", None)  # the model is not even loaded
    assert queries.of_sessions(chat_sessions, out, config, BeamConfig(), tuned)["computed"] == 0


def test_a_run_that_was_stopped_goes_on_where_it_was(chat_sessions, config, tmp_path, monkeypatch):
    out, asked = tmp_path / "queries", Reasoner.of_sessions

    def stop_at_cards(self, contexts):
        if any("card" in context for context in contexts):
            raise KeyboardInterrupt("stopped")
        return asked(self, contexts)

    monkeypatch.setattr(queries, "_BATCH", 2)
    with monkeypatch.context() as patch, pytest.raises(BaseException, match="stopped"):
        patch.setattr(Reasoner, "of_sessions", stop_at_cards)
        queries.of_sessions(chat_sessions, out, config, BeamConfig())
    assert not out.exists()
    summary = queries.of_sessions(chat_sessions, out, config, BeamConfig())
    assert 0 < summary["reused"] < 12 and summary["computed"] + summary["reused"] == 12


def test_every_candidate_gets_the_vector_of_its_query(chat_sessions, config, tmp_path):
    told = [("s00", "a/0", "where is it"), ("s00", "b/0", ""), ("s01", "a/0", "my money")]
    rows = [{"session_id": s, "candidate": c, "teacher": c[0], "own": False, "query": q, "words": len(q.split()),
             "outcome": "kept", "answer": q, "source": "x", "asked": s + c} for s, c, q in told]  # fmt: skip
    folder = tmp_path / "candidates"
    alignment_tables.write(folder, "candidates", {"candidates": pa.Table.from_pylist(rows)}, {})
    summary = queries.of_candidates(folder, tmp_path / "vectors", config, BeamConfig())
    assert (summary["rows"], summary["left_out"]) == (2, 1)
    found = {(row["session_id"], row["candidate"]): row["vector"] for row in rows_of(tmp_path / "vectors")}
    expected = Reasoner(config).of_queries(["where is it", "my money"])
    np.testing.assert_allclose([found["s00", "a/0"], found["s01", "a/0"]], expected, atol=1e-4)


def test_sessions_that_are_not_whole_are_refused(config, tmp_path):
    with pytest.raises(DataError, match="was not written to the end"):
        queries.of_sessions(tmp_path, tmp_path / "out", config, BeamConfig())


def test_every_intent_gets_the_vector_of_its_title(chat_sessions, config, tmp_path):
    assert queries.of_intents(chat_sessions, tmp_path / "intents", config, BeamConfig())["rows"] == 4
    found = {row["intent_id"]: row["vector"] for row in rows_of(tmp_path / "intents")}
    [expected] = Reasoner(config).of_queries(["Where is my parcel?"])
    np.testing.assert_allclose(found["late"], expected, atol=1e-4)


def test_a_session_without_a_label_has_no_vector(tmp_path):
    told = pa.table({"session_id": ["a", "b", "c"], "text": ["x", "y", "z"], "intents": [["late"], [], None]})
    pq.write_table(told, tmp_path / "sessions.parquet")
    rows = queries.text_rows((str(tmp_path / "sessions.parquet"), 0), ("session_id",), "text", "intents")
    assert rows.to_pylist() == [{"session_id": "a", "text": "x"}]
