import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from antiphon import hits
from antiphon.config import load
from feature_store import intents
from feature_store.errors import DataError
from llm_offline.alignment.judge import Remembered
from trainer.calibration import Calibration
from trainer.requests import evaluate as request_evaluate
from trainer.requests.scores import Scored

NAMES = ["late", "pay", "refund", "return"]
LOGITS = np.array([[3.0, 2.0, 1.0, 0.0], [0.0, 1.0, 2.0, 3.0], [0.0, 0.0, 0.0, 9.0]])
LABELS = np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 1]], np.float32)


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A run with a base of four intents, and one ranker's scores of three sessions."""
    rows = [{"intent_id": name, "title": f"About {name}", "description": "", "examples": [], "category": ""}
            for name in NAMES]  # fmt: skip
    whole = replace(load("configs/chatbot_tiny.yaml"), runs=str(tmp_path))
    whole = replace(whole, rankers={"qe_rec": whole.rankers["qe_rec"]})
    intents.write(whole.folder / "intents", pa.Table.from_pylist(rows, intents.SCHEMA), [], 0.1, {})
    sessions = np.array(["a", "b", "c"])
    scored = Scored(sessions, sessions, np.zeros(3, np.int64), np.ones((3, 4), bool), LABELS, LOGITS, {})
    monkeypatch.setattr(request_evaluate, "read", lambda folder: (scored, Calibration()))
    return whole


def test_the_truth_that_labels_the_test_judges_by_the_rule(config):
    found = hits.run(config)
    assert found == json.loads((config.folder / "evaluation" / "hits.json").read_text())
    assert found["rankers"]["qe_rec"] == {"intent_hit_rate": pytest.approx(2 / 3), "judged": 3, "unknown": 0}
    first = replace(config, hits=replace(config.hits, first=1))
    assert hits.run(first)["rankers"]["qe_rec"]["intent_hit_rate"] == pytest.approx(1 / 3)


def test_a_model_judges_by_what_was_said(config, tmp_path, monkeypatch):
    file = tmp_path / "said.parquet"
    pq.write_table(pa.table({"session_id": ["a", "b"], "transcript": ["where is it", "pay"]}), file)
    told = replace(config, hits=replace(config.hits, by="model", transcripts=str(file)))

    class Judge:
        def true_intents(self, cases):
            return [frozenset({case.transcript}) & set(NAMES) or None for case in cases]

    monkeypatch.setattr(hits, "judge_of", lambda config, titles: Remembered(Judge(), tmp_path / "judged", "judge"))
    assert hits.run(told)["rankers"]["qe_rec"] == {"intent_hit_rate": 1.0, "judged": 1, "unknown": 2}


def test_transcripts_must_have_their_columns(config, tmp_path):
    pq.write_table(pa.table({"session_id": ["a"]}), tmp_path / "said.parquet")
    with pytest.raises(DataError, match="must be Parquet with session_id and transcript"):
        hits.run(replace(config, hits=replace(config.hits, transcripts=str(tmp_path / "said.parquet"))))
    with pytest.raises(ValueError, match="transcripts must be given"):
        replace(config.hits, by="model")
