import gzip
import json
from pathlib import Path

import pytest

from feature_store import intents
from feature_store.chat_config import IntentsConfig
from feature_store.datasets.intents import public, run
from feature_store.errors import DataError


def packed(path: Path, text: str) -> None:
    path.write_bytes(gzip.compress(text.encode()))


def base(reader, folder: Path) -> list[dict]:
    rows, letters = intents.checked(reader(IntentsConfig(reader=reader.__name__, path=str(folder))), 2)
    assert letters == []
    return rows.to_pylist()


def test_questions_with_an_intent_each_make_a_base(tmp_path):
    packed(tmp_path / "train.csv.gz", "text,category\nWhere is my card?,card_arrival\nWhere is it?,card_arrival\n"
                                      "Where is my card?,card_arrival\nWhy?,age_limit\n")  # fmt: skip
    assert base(public.banking77, tmp_path) == [
        {"intent_id": "age_limit", "title": "Age limit", "description": "", "examples": ["Why?"],
         "category": "banking"},
        {"intent_id": "card_arrival", "title": "Card arrival", "description": "",
         "examples": ["Where is my card?", "Where is it?"], "category": "banking"},
    ]  # fmt: skip


def test_clinc_takes_each_category_from_its_domain(tmp_path):
    packed(tmp_path / "data_full.json.gz", json.dumps({"train": [["hola", "translate"]], "oos_train": [["?", "oos"]]}))
    (tmp_path / "domains.json").write_text(json.dumps({"small_talk": ["translate"]}))
    assert [(row["intent_id"], row["category"]) for row in base(public.clinc150, tmp_path)] == [
        ("translate", "small talk")
    ]
    (tmp_path / "domains.json").write_text("{}")
    with pytest.raises(DataError, match="every intent has a domain.*translate"):
        base(public.clinc150, tmp_path)


def test_abcd_joins_guideline_and_ontology_by_their_order(tmp_path):
    told = {"Get Money Back": {"instructions": ["The customer wants money.", "Be nice."]},
            "Send Back": {"instructions": []}}  # fmt: skip
    packed(tmp_path / "guidelines.json.gz", json.dumps({"Single-Item Query": {"subflows": told}}))
    ontology = {"intents": {"subflows": {"single_item_query": ["refund", "return"]}}}
    (tmp_path / "ontology.json").write_text(json.dumps(ontology))
    chat = {"scenario": {"flow": "single_item_query", "subflow": "return"},
            "original": [["agent", "Hi"], ["customer", "Hi"], ["customer", "I want to return my boots"]]}  # fmt: skip
    packed(tmp_path / "abcd_sample.json.gz", json.dumps([chat]))
    first, second = base(public.abcd, tmp_path)
    assert first == {"intent_id": "single_item_query.refund", "title": "Get Money Back",
                     "description": "The customer wants money.", "examples": [],
                     "category": "single item query"}  # fmt: skip
    assert (second["title"], second["examples"]) == ("Send Back", ["I want to return my boots"])
    (tmp_path / "ontology.json").write_text(json.dumps({"intents": {"subflows": {"single_item_query": ["refund"]}}}))
    with pytest.raises(DataError, match="flow 'single_item_query', 1 .got 2"):
        base(public.abcd, tmp_path)


@pytest.mark.parametrize(
    "reader, count, categories", [("bitext", 27, 11), ("banking77", 77, 1), ("clinc150", 150, 10), ("abcd", 55, 10)]
)
def test_the_real_files_have_the_published_numbers_of_intents(tmp_path, shared_data, reader, count, categories):
    summary = run(IntentsConfig(reader=reader, path=str(shared_data / f"intents_{reader}")), tmp_path / "base")
    assert (summary["intents"], summary["categories"]) == (count, categories)
