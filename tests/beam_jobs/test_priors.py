import math
import random

import purchase_log
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_jobs.options import BeamConfig, PriorConfig
from beam_jobs.priors import run
from feature_store import folders, user_groups
from feature_store.config import OnlineStoreConfig
from feature_store.errors import DataError
from feature_store.group_views import GroupStore
from feature_store.user_groups import GROUPS_SCHEMA, USERS_SCHEMA

USERS = {"ann": ("Rome", 30, 10.0), "bob": ("Rome", None, 20.0), "cy": ("Oslo", 40, None), "dee": (None, 30, 40.0)}
ITEMS = {"cot": ["Baby", "beds"], "pram": ["Baby", "prams"], "rake": ["Garden", "tools"], "odd": []}
EVENTS = [
    ("ann", "cot", 10), ("ann", "pram", 20), ("bob", "pram", 40), ("bob", "rake", 50, "click"), ("cy", "rake", 60),
    ("cy", "rake", 64), ("dee", "odd", 70), ("dee", "cot", 990), ("ann", "rake", 1000),
]  # fmt: skip
CODES = {"ann": [1, 0], "bob": [1, 1], "cy": [2, 0], "dee": []}
GROUPS = [("", 0, 4), ("1", 1, 2), ("2", 1, 1)]
END = 900  # the last two events are the test's


def write_groups(folder, codes=CODES, version="v1"):
    """Groups "1" and "2"; who has no codes is in everybody's."""
    folder.mkdir(parents=True)
    rows = [
        {"user_id": user, "codes": own, "group": str(own[0]) if own else "", "level": len(own[:1])}
        for user, own in sorted(codes.items())
    ]
    pq.write_table(pa.Table.from_pylist(rows, USERS_SCHEMA), folder / user_groups.USERS)
    named = [dict(zip(GROUPS_SCHEMA.names, row, strict=True)) for row in GROUPS]
    pq.write_table(pa.Table.from_pylist(named, GROUPS_SCHEMA), folder / user_groups.GROUPS)
    files = [folders.describe(folder / name, folder) for name in (user_groups.USERS, user_groups.GROUPS)]
    folders.write_manifest(folder, {"kind": "groups", "version": version, "training_end": END, "files": files})
    return folder


@pytest.fixture
def tables(tmp_path):
    return purchase_log.write(tmp_path / "tables", USERS, ITEMS, EVENTS, test_start=END)


def priors(tables, groups, out, config=None, beam=None):
    return run(tables, groups, out, config or PriorConfig(), OnlineStoreConfig(), beam or BeamConfig())


def rows_of(path, key):
    return {row.pop(key): row for row in pq.read_table(path).to_pylist()}


def test_groups_know_what_their_users_have_in_common_before_the_end(tables, tmp_path):
    out = tmp_path / "priors"
    summary = priors(tables, write_groups(tmp_path / "groups"), out, PriorConfig(categories=2))
    assert rows_of(out / "groups.parquet", "group") == {
        "": {
            "members": 4, "city": "Rome", "age": 30, "income": pytest.approx(70 / 3),
            "top_categories": ["prams", "tools"], "sequence": ["pram", "rake"],
        },
        "1": {"members": 2, "city": "Rome", "age": 30, "income": 15.0, "top_categories": ["prams", "beds"],
              "sequence": ["cot", "pram"]},
        "2": {"members": 1, "city": "Oslo", "age": 40, "income": None, "top_categories": ["tools"],
              "sequence": ["rake"]},
    }  # fmt: skip
    assert summary["groups"] == 3 and summary["version"] == "v1"
    assert folders.read_manifest(out)["training_end"] == END
    # bob and ann: city 1; ages known of ann alone: 1. cy: 1, 1. dee: Rome 2 of 3, age 30 2 of 3.
    assert summary["attribute_consistency"] == pytest.approx((1 + 1 + 1 + 2 / 3) / 4, abs=1e-6)


def test_all_categories_of_an_item_or_its_leaf(tables, tmp_path):
    out = tmp_path / "priors"
    priors(tables, write_groups(tmp_path / "groups"), out, PriorConfig(categories_of="all", categories=1, purchase=""))
    everybody = rows_of(out / "groups.parquet", "group")[""]
    assert everybody["top_categories"] == ["Baby"]  # three events; of Garden, tools and the others there are fewer
    assert everybody["sequence"] == ["cot", "pram"]


def test_leave_one_out_is_the_group_without_the_user(tables, tmp_path):
    out = tmp_path / "priors"
    groups = write_groups(tmp_path / "groups")
    priors(tables, groups, out, PriorConfig(leave_one_out=True))
    users = rows_of(out / "users.parquet", "user_id")
    assert users["ann"] == {"members": 1, "city": "Rome", "age": None, "income": 20.0, "top_categories": ["prams"],
                            "sequence": ["pram"]}  # fmt: skip
    assert users["bob"]["sequence"] == ["cot", "pram"] and users["bob"]["age"] == 30
    unknown = {"city": None, "age": None, "income": None}
    assert users["cy"] == {"members": 0, **unknown, "top_categories": [], "sequence": []}
    rest = {user: values for user, values in USERS.items() if user != "dee"}
    events = [event for event in EVENTS if event[0] != "dee"]
    without = purchase_log.write(tmp_path / "without", rest, ITEMS, events, test_start=END)
    others = write_groups(tmp_path / "others", {user: CODES[user] for user in rest})
    priors(without, others, tmp_path / "again")
    assert users["dee"] == rows_of(tmp_path / "again" / "groups.parquet", "group")[""]


def test_neither_order_nor_shards_nor_fan_out_show(tmp_path):
    draw = random.Random(4)
    users = {f"u{n}": (draw.choice(["a", "b", None]), draw.randint(1, 3), draw.random()) for n in range(40)}
    codes = {user: [draw.randint(1, 2), 0] for user in users}
    events = [(draw.choice(sorted(users)), draw.choice(sorted(ITEMS)), draw.randint(0, 800)) for _ in range(300)]
    files = []
    for name, shards, fanout in (("one", 1, 1), ("many", 5, 7)):
        tables = purchase_log.write(tmp_path / name / "tables", users, ITEMS, events, test_start=END)
        groups, out = write_groups(tmp_path / name / "groups", codes), tmp_path / name / "priors"
        priors(tables, groups, out, PriorConfig(leave_one_out=True, fanout=fanout), BeamConfig(shards=shards))
        files.append([(out / file).read_bytes() for file in ("groups.parquet", "users.parquet")])
    assert files[0] == files[1]


def test_what_is_read_online_is_what_lies_offline(tables, tmp_path):
    out = tmp_path / "priors"
    priors(tables, write_groups(tmp_path / "groups"), out)
    offline = rows_of(out / "groups.parquet", "group")
    with GroupStore(out / "features", "v1") as store:
        users = store.users(["ann", "dee", "new"])
        known = [(row["codes"], row["group"], row["level"]) for row in users]
        assert known == [([1, 0], "1", 1), ([], "", 0), ([], "", 0)]
        found = store.priors([row["group"] for row in users] + ["2"])
    assert found[0] == offline["1"] | {"version": "v1"}
    assert found[1] == found[2]
    assert found[1]["sequence"] == offline[""]["sequence"]
    assert math.isnan(found[3]["income"])  # nothing is known, as in a request
    with pytest.raises(DataError, match=r"is of another codebook: it must be 'v0' \(got 'v1'\)"):
        GroupStore(out / "features", "v0")


def test_feast_knows_both_views(tables, tmp_path):
    from feature_store.definitions import open_feast

    priors(tables, write_groups(tmp_path / "groups"), tmp_path / "priors")
    feast = open_feast(tmp_path / "priors" / "features" / "feature_repo")
    read = feast.get_online_features(["group_prior:sequence", "group_prior:members"], [{"group": "1"}]).to_dict()
    assert (read["sequence"], read["members"]) == ([["cot", "pram"]], [2])
    read = feast.get_online_features(["user_group:group"], [{"user_id": "cy"}]).to_dict()
    assert read["group"] == ["2"]


def test_groups_of_other_users_are_refused(tables, tmp_path):
    groups = write_groups(tmp_path / "groups", {**CODES, "eve": []})
    with pytest.raises(DataError, match="the groups are of other users than the tables"):
        priors(tables, groups, tmp_path / "priors")
    assert not (tmp_path / "priors").exists()
