import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_store import intents
from feature_store.chat_config import IntentsConfig
from feature_store.datasets.intents import SERVICE, rows, run
from feature_store.errors import DataError

WANTED = [{"intent_id": "a", "title": "A?", "description": "", "examples": ["one", "two"], "category": "x"}]


@pytest.mark.parametrize("kind", ["jsonl", "csv", "tsv", "parquet"])
def test_ones_own_file_is_read_in_each_form_with_its_column_names(tmp_path, kind):
    path = tmp_path / f"own.{kind}"
    row = {"key": "a", "title": "A?", "examples": ["one", "two"], "category": "x"}
    if kind == "jsonl":
        path.write_text(json.dumps(row) + "\n\n")
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist([row]), path)
    else:
        mark = "," if kind == "csv" else "\t"
        path.write_text(mark.join(row) + "\n" + mark.join(["a", "A?", "one|two", "x"]) + "\n")
    found, letters = intents.checked(rows.read(path, {"intent_id": "key"}), 5)
    assert letters == []
    assert found.to_pylist() == WANTED


def test_lines_that_are_no_intent_are_dead_letters(tmp_path):
    path = tmp_path / "own.jsonl"
    lines = ['{"intent_id": "a", "title": "A?"', "[1]", '{"intent_id": "a", "title": 3}', json.dumps(WANTED[0])]
    path.write_text("\n".join(lines))
    found, letters = intents.checked(rows.read(path, {}), 5)
    assert found.to_pylist() == WANTED
    assert [letter.row for letter in letters] == [0, 1, 2]
    assert [letter.reason for letter in letters][1:] == ["a line is one JSON object", "wrong type in title"]


def test_a_file_without_what_is_needed_is_refused(tmp_path):
    with pytest.raises(DataError, match="there is no such file"):
        list(rows.read(tmp_path / "none.jsonl", {}))
    (tmp_path / "own.csv").write_text("intent_id\na\n")
    with pytest.raises(DataError, match="field 'title': the file has no such column"):
        list(rows.read(tmp_path / "own.csv", {}))
    with pytest.raises(DataError, match="field 'columns'"):
        list(rows.read(tmp_path / "own.csv", {"name": "x"}))


def test_our_own_base_is_large_distinct_and_whole(tmp_path):
    summary = run(IntentsConfig(), tmp_path / "base")
    base = intents.read(tmp_path / "base").to_pylist()
    assert summary["intents"] == len(base) >= 150
    assert summary["dead_letters"] == {}
    texts = [text for row in base for text in (row["title"], *row["examples"])]
    assert len({text.lower() for text in texts}) == len(texts)
    assert len({row["description"] for row in base}) == len(base)
    for row in base:
        assert len(row["examples"]) >= 3, row
        assert row["description"].endswith("."), row
        assert row["category"], row
    assert len(SERVICE.read_text().splitlines()) == len(base)
