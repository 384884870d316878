import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from antiphon import explanations
from antiphon.config import Config
from llm_offline.config import LlmConfig

EXAMPLE = {
    "asked": True, "why": "rose most", "user_id": "u7", "history": ["a", "b", "c"], "target": "d",
    "prompts": [{"code": 3, "text": "What does this user like?", "cosine": 0.987}, {"code": 5}],
    "alone": {"rank": 3.0, "items": ["e", "f", "d"]}, "known": {"rank": 1.0, "items": ["d", "e", "g"]},
}  # fmt: skip


@pytest.fixture
def config(tmp_path):
    config = Config(name="shop", runs=str(tmp_path), llm=LlmConfig(text="titles", max_titles=2))
    (config.folder / "tables").mkdir(parents=True)
    titles = ["Anvil", "Bow", "Candle", "Drum", "Easel", "Flute & <b>", ""]
    items = pa.table({"item_id": list("abcdefg"), "title": titles})
    pq.write_table(items, config.folder / "tables" / "items.parquet")
    (config.folder / "evaluation" / "coco").mkdir(parents=True)
    (config.folder / "evaluation" / "coco" / "explanations.json").write_text(json.dumps([EXAMPLE]))
    return config


def test_it_tells_what_the_model_read_and_how_the_ranking_changed(config):
    (found,) = explanations.read(config, "coco")
    lines = [" ".join(line.split()) for line in explanations.show(found).splitlines()]
    assert lines == [
        "User u7, whose item rose most: Drum went from place 3 to 1",
        "the model was told, newest first: Candle; Bow",
        "prompt: What does this user like? (code 3, cosine 0.99 to its sentence)",
        "prompt: code 5",
        "by behaviour alone with what the model knows",
        "1. Easel 1. +2 Drum",
        "2. Flute & <b> 2. −1 Easel",
        "3. Drum 3. new item g",
    ]


def test_the_report_shows_the_same_and_titles_stay_text(config):
    page = str(explanations.markup(explanations.read(config, "coco")))
    assert "Drum went from place 3 to 1" in page and "What does this user like?" in page and "+2" in page
    assert "<b>" not in str(explanations.markup([{**EXAMPLE, **explanations.read(config, "coco")[0], "told": ["<b>"]}]))


def test_a_variant_without_a_language_model_has_none(config):
    assert explanations.read(config, "base") == []
