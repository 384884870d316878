"""Clicked impressions as requests: nothing of what came later, and the group's priors beside."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_store import conversions, folders, requests
from feature_store.conversion_config import ConversionConfig
from feature_store.errors import DataError
from feature_store.schema import Field, Schema

DAY = 86_400_000_000
SCHEMA = Schema(
    user_attributes=(Field("city"), Field("age", "int64"), Field("income", "float32")),
    item_attributes=(Field("price", "float32"), Field("brand")),
    impression_context=(Field("entry"),),
    optional=("impressions",),
)


def at(days):
    return datetime.fromtimestamp(days * 86_400, UTC)


@pytest.fixture
def tables(tmp_path):
    """Two users; u has bought x on day 1, y on day 3, x on day 10; the test is day 12 on."""
    folder = tmp_path / "tables"
    bought = [("u", "x", 1), ("u", "y", 3), ("u", "x", 10), ("v", "y", 2)]
    shown = [("u", "x", 1, 1, 1), ("u", "z", 2, 1, 0), ("u", "y", 3, 1, 1), ("u", "x", 4, 0, 0), ("v", "y", 2, 1, 1),
             ("v", "z", 5, 1, 0), ("u", "x", 10, 1, 1), ("u", "z", 12, 1, 0), ("v", "z", 13, 1, 1)]  # fmt: skip
    parts = {
        "users": [{"user_id": "u", "city": "Oslo", "age": 30, "income": None}, {"user_id": "v", "income": 2.0}],
        "items": [{"item_id": i, "title": i, "categories": ["all", i], "price": 3.0, "brand": None} for i in "xyz"],
        "events": [
            {"user_id": u, "item_id": i, "event_time": at(d), "event_type": "purchase", "value": 1.0,
             "created_time": at(d)} for u, i, d in bought
        ],
        "impressions": [
            {"impression_id": f"{u}{d}", "user_id": u, "item_id": i, "event_time": at(d), "clicked": c, "converted": y,
             "entry": "home"} for u, i, d, c, y in shown
        ],
    }  # fmt: skip
    with folders.new_folder(folder) as scratch:
        told = {}
        for name, rows in parts.items():
            pq.write_table(pa.Table.from_pylist(rows, SCHEMA.table(name).arrow()), scratch / f"{name}.parquet")
            told[name] = folders.describe(scratch / f"{name}.parquet", scratch)
        about = {"kind": "tables", "schema": SCHEMA.to_json(), "source": {"test_start": 12 * DAY}, "tables": told}
        folders.write_manifest(scratch, about)
    return folder


def grouped(tmp_path, training_end=5 * DAY, version="v1", made_of="v1"):
    """u is in a group of level 1; v is in nobody's."""
    for folder, name, table, about in (
        ("groups", "users.parquet", pa.table({"user_id": ["u", "v"], "codes": [[7, 1], [8, 2]], "group": ["7", ""],
                                              "level": [1, 0]}), {"kind": "groups", "version": version}),
        ("priors", "groups.parquet", pa.table({
            "group": ["7", ""], "members": [4, 9], "city": ["Bergen", "Oslo"], "age": [40, None],
            "income": pa.array([1.5, None], pa.float32()), "top_categories": [["x"], []],
            "sequence": [["z", "x"], ["y"]],
        }), {"kind": "priors", "version": made_of, "training_end": training_end}),
    ):  # fmt: skip
        with folders.new_folder(tmp_path / folder) as scratch:
            pq.write_table(table, scratch / name)
            folders.write_manifest(scratch, {**about, "files": [folders.describe(scratch / name, scratch)]})
    return tmp_path / "groups", tmp_path / "priors"


CONFIG = ConversionConfig(overlap=True, valid_share=0.2, history=2, group_history=1, shards=1, user_buckets=5)


def read(folder, split):
    names = [field.name for field in requests.fields(conversions_features(folder))]
    return {row["request_id"]: row for row in requests.read_rows(folder, split, names).to_pylist()}


def conversions_features(folder):
    from feature_store.request_schema import from_json

    return from_json(json.loads((folder / "MANIFEST.json").read_text())["features"])


def test_a_request_knows_what_was_before_it_alone(tables, tmp_path):
    manifest = conversions.write(tables, *grouped(tmp_path), tmp_path / "out", CONFIG)
    splits = {split: read(tmp_path / "out", split) for split in ("train", "valid", "test")}
    assert {split: sorted(rows) for split, rows in splits.items()} == {
        "train": ["u1", "u2", "u3", "v2"], "valid": ["u10", "v5"], "test": ["u12", "v13"],
    }  # fmt: skip
    rows = {**splits["train"], **splits["valid"], **splits["test"]}
    assert {name: (row["bought"], row["bought_count"]) for name, row in rows.items()} == {
        "u1": ([], 0), "u2": (["x"], 1), "u3": (["x"], 1), "v2": ([], 0), "v5": (["y"], 1),
        "u10": (["x", "y"], 2), "u12": (["y", "x"], 3), "v13": (["y"], 1),
    }  # fmt: skip
    assert rows["u3"]["skipped"] == ["z"] and rows["u1"]["skipped"] == [] and rows["v13"]["skipped"] == ["z"]
    assert [rows[name]["labels"] for name in ("u1", "u12", "v13")] == [[1], [0], [1]]
    u, v = rows["u12"], rows["v13"]
    assert (u["city"], u["age"], u["user"], u["entry"]) == ("Oslo", 30, "u", "home") and np.isnan(u["income"])
    assert (v["city"], v["age"], v["income"]) == ("", -1, 2)
    assert (u["group_1"], u["group_2"]) == ("7", "") and (v["group_1"], v["group_2"]) == ("", "")
    assert (u["prior_city"], u["prior_age"], u["prior_income"]) == ("Bergen", 40, 1.5)
    assert (u["group_sequence"], u["prior_categories"]) == (["x"], ["x"])  # the latest one
    assert (v["prior_city"], v["group_sequence"]) == ("Oslo", ["y"]) and np.isnan(v["prior_income"])
    assert manifest["boundaries"] == {"train": None, "valid": 5 * DAY, "test": 12 * DAY}
    assert manifest["groups"]["version"] == "v1"
    activity = pq.read_table(tmp_path / "out" / conversions.ACTIVITY).to_pylist()
    assert activity == [{"user_id": "u", "purchases": 2}, {"user_id": "v", "purchases": 1}]


def test_what_groups_and_priors_were_made_of_is_not_learnt_from(tables, tmp_path):
    config = replace(CONFIG, overlap=False, valid_share=0.5)
    manifest = conversions.write(tables, *grouped(tmp_path, training_end=2 * DAY), tmp_path / "out", config)
    assert {split: sorted(read(tmp_path / "out", split)) for split in ("train", "valid", "test")} == {
        "train": ["u2", "v2"], "valid": ["u10", "u3", "v5"], "test": ["u12", "v13"],
    }  # fmt: skip
    assert manifest["boundaries"] == {"train": 2 * DAY, "valid": 3 * DAY, "test": 12 * DAY}
    assert read(tmp_path / "out", "train")["u2"]["bought"] == ["x"]  # of before, which is history all the same
    with pytest.raises(DataError, match=f"no clicked impression is before the test and from {11 * DAY} on"):
        conversions.write(tables, *grouped(tmp_path / "late", training_end=11 * DAY), tmp_path / "none", config)


def test_the_test_begins_where_it_is_asked_to(tables, tmp_path):
    config = replace(CONFIG, test_start="1970-01-04", valid_share=0.5)
    manifest = conversions.write(tables, None, None, tmp_path / "out", config)
    assert manifest["boundaries"] == {"train": None, "valid": 2 * DAY, "test": 3 * DAY}
    with pytest.raises(ValueError, match="test_start must be a date or time such as 2025-06-15"):
        ConversionConfig(test_start="soon")


def test_priors_without_the_user_are_taken_where_they_are(tables, tmp_path):
    groups, priors = grouped(tmp_path)
    alone = pa.table({"user_id": ["u"], "city": ["Moss"], "age": [1], "income": pa.array([0.5], pa.float32()),
                      "top_categories": [["y"]], "sequence": [["y"]]})  # fmt: skip
    pq.write_table(alone, priors / "users.parquet")
    conversions.write(tables, groups, priors, tmp_path / "out", CONFIG)
    rows = read(tmp_path / "out", "test")
    assert rows["u12"]["prior_city"] == "Moss" and rows["v13"]["prior_city"] == ""


def test_without_groups_there_are_no_features_of_theirs(tables, tmp_path):
    conversions.write(tables, None, None, tmp_path / "out", CONFIG)
    assert not [f.name for f in conversions_features(tmp_path / "out") if f.name.startswith(("group_", "prior_"))]


@pytest.mark.parametrize(
    ("settings", "told"),
    [({"training_end": 12 * DAY}, "must end before the test begins"), ({"made_of": "v0"}, "is of other groups")],
)
def test_priors_that_do_not_fit_are_told(tables, tmp_path, settings, told):
    with pytest.raises(DataError, match=told):
        conversions.write(tables, *grouped(tmp_path, **settings), tmp_path / "out", CONFIG)
