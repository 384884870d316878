"""Groups that ChoirRec's rows are compared with, on a small market."""

import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.reproduce import _choir_groups
from feature_store import folders, user_groups
from feature_store.market.config import MarketConfig

MARKET = MarketConfig(users=600)


@pytest.fixture
def segments(tmp_path):
    told = tmp_path / "profiles" / "users"
    users = [f"u{number}" for number in range(MARKET.users)]
    with folders.new_folder(told) as folder:
        pq.write_table(pa.table({"user_id": users}), folder / "00000.parquet")
        folders.write_manifest(folder, {"training_end": 7})
    _choir_groups.of_segments(told.parent, tmp_path / "segments", MARKET)
    return tmp_path / "segments"


def test_the_markets_own_groups_are_whole_and_know_all_of_a_segment(segments):
    manifest = user_groups.read(segments, hashes=True)
    assert manifest["training_end"] == 7 and manifest["levels"] == 2
    users = pq.read_table(segments / user_groups.USERS).to_pylist()
    groups = {row["group"]: row["members"] for row in pq.read_table(segments / user_groups.GROUPS).to_pylist()}
    assert groups[""] == MARKET.users == len(users)
    assert [row["user_id"] for row in users] == sorted(row["user_id"] for row in users)
    for row in users:
        assert row["group"] == user_groups.name(row["codes"]) and row["group"] in groups
    sizes = [members for group, members in groups.items() if group and "-" not in group]
    entropy = -sum(size / 600 * math.log(size / 600) for size in sizes)
    assert sum(sizes) == 600 and 1 < len(sizes) <= 16
    assert _choir_groups.information(segments, MARKET) == pytest.approx(entropy)


def test_what_attributes_tell_of_segments_is_between_nothing_and_all(segments, tmp_path):
    users = pq.read_table(segments / user_groups.USERS).to_pylist()
    segment = [row["codes"][0] for row in users]
    half = [code if number % 4 < 2 else None for number, code in enumerate(segment)]
    told = {}
    for name, columns in {
        "all": {"town": [f"t{code}" for code in segment]},
        "half": {"town": [None if code is None else f"t{code}" for code in half], "age": [1.5] * len(users)},
        "none": {"town": ["here"] * len(users)},
    }.items():
        (tmp_path / name).mkdir()
        table = pa.table({"user_id": [row["user_id"] for row in users], **columns})
        pq.write_table(table, tmp_path / name / "users.parquet")
        told[name] = _choir_groups.of_attributes(tmp_path / name, MARKET)
    entropy = _choir_groups.information(segments, MARKET)
    assert -0.1 < told["none"] < 0.05
    assert told["none"] + 0.5 < told["half"] < told["all"] - 0.5 < entropy - 0.5


def test_what_profiles_tell_of_segments_is_more_than_attributes_where_users_did_something(segments, tmp_path):
    users = pq.read_table(segments / user_groups.USERS).to_pylist()
    names = [row["user_id"] for row in users]
    pq.write_table(pa.table({"user_id": names, "town": ["here"] * len(names)}), tmp_path / "users.parquet")
    told = {}
    for kind, bought in {"own": [f"g{row['codes'][0]}" for row in users], "same": ["g"] * len(users)}.items():
        (tmp_path / kind / "users").mkdir(parents=True)
        texts = [f"Town: here.\nEarlier purchases: {what} (2)." for what in bought]
        pq.write_table(pa.table({"user_id": names, "text": texts}), tmp_path / kind / "users" / "00000.parquet")
        told[kind] = _choir_groups.of_profiles(tmp_path, tmp_path / kind, MARKET)
    assert told["same"] == pytest.approx(_choir_groups.of_attributes(tmp_path, MARKET))
    assert told["same"] + 0.5 < told["own"] < _choir_groups.information(segments, MARKET)


def test_one_group_of_all_knows_nothing(segments):
    table = pq.read_table(segments / user_groups.USERS)
    nobody = table.set_column(2, "group", pa.array([""] * len(table)))
    pq.write_table(nobody, segments / user_groups.USERS)
    assert _choir_groups.information(segments, MARKET) == pytest.approx(0)
