import json
from dataclasses import replace

import pytest

from antiphon import chat_ranker
from antiphon.config import load


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
