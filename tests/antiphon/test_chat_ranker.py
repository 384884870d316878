import json
from dataclasses import replace

import pyarrow as pa
import pytest

import trainer.requests.rewards
from antiphon import chat_ranker
from antiphon.config import load
from feature_store import cross_fit, folders


def test_what_was_begun_with_other_queries_is_removed_and_with_the_same_kept(tmp_path):
    out = tmp_path / "rankers"
    chat_ranker._begin(out, {"queries": "a"})
    (out / "all").mkdir()
    (out / "MANIFEST.json").write_text("{}")
    chat_ranker._begin(out, {"queries": "a"})
    assert (out / "all").is_dir() and not (out / "MANIFEST.json").exists()
    chat_ranker._begin(out, {"queries": "b"})
    assert not (out / "all").exists()
    assert json.loads((out / chat_ranker.BEGUN).read_text()) == {"queries": "b"}


def test_the_ranker_that_rewards_must_be_one_of_the_config_s():
    config = load("configs/chatbot_tiny.yaml")
    assert chat_ranker.settings(config)[2]["model"]["kind"] == "qe_rec"
    other = replace(config, chat=replace(config.chat, reward="oracle"))
    with pytest.raises(ValueError, match="chat.reward must be one of rankers .two_towers, qe_rec., received 'oracle'"):
        chat_ranker.settings(other)


def test_candidates_are_placed_among_the_sessions_where_the_config_says_so(tmp_path, monkeypatch):
    made = {}
    for name, kind in (("candidates", "candidates"), ("vectors", "candidate_vectors"), ("rankers", chat_ranker.KIND)):
        made[name] = tmp_path / name
        made[name].mkdir()
        folders.write_manifest(made[name], {"kind": kind, "folds": 2})

    def rewards(folder, model, vectors, labels=None, placed=False):
        fold = int(folder.parent.name.removeprefix("fold-"))
        session = next(name for name in map(str, range(100)) if cross_fit.fold_of(name, 2) == fold)
        row = {"session_id": session, "candidate": "a/0", "ndcg": 1.0 if placed else 0.5, "margin": 0.0}
        return pa.Table.from_pylist([row])

    monkeypatch.setattr(trainer.requests.rewards, "rewards", rewards)
    config = load("configs/chatbot_tiny.yaml")
    for place, ndcg in ((False, 0.5), (True, 1.0)):
        told = replace(config, align=replace(config.align, place=place))
        found = chat_ranker.reward(told, made["candidates"], made["vectors"], made["rankers"], tmp_path / str(place))
        assert found == {"candidates": 2, "sessions": 2, "ndcg": ndcg}
