import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_jobs.groups import run
from beam_jobs.options import BeamConfig
from feature_store import folders, user_groups
from feature_store.errors import DataError
from llm_offline.profile_config import GroupConfig

CONFIG = GroupConfig(levels=2, k=2, min_members=3, sample=100, iterations=5)
# Far clusters at x = 10 (seven users) and x = -10 (four): near ones at y = 1 and y = -1.
PLACES = [(10, 1)] * 5 + [(10, -1)] * 2 + [(-10, 1)] * 3 + [(-10, -1)]


def write_profiles(folder, places=PLACES, model_id="m", rows=100):
    """Profiles of users a, b, c, ... at the places; None has no vector."""
    users = folder / "users"
    users.mkdir(parents=True)
    vectors = [None if place is None else list(map(float, place)) for place in places]
    ids = [chr(97 + n) for n in range(len(places))]
    columns = pa.table({"user_id": ids, "vector": pa.array(vectors, pa.list_(pa.float32()))})
    pq.write_table(columns, users / "00000.parquet", row_group_size=rows)
    described = {"kind": "profiles", "model_id": model_id, "training_end": 9, "tables": {}, "profiles": {}}
    files = [{"rows": len(places), **folders.describe(users / "00000.parquet", users)}]
    folders.write_manifest(users, {**described, "rows": len(places), "files": files})
    return folder


def users_of(out):
    return {row["user_id"]: row for row in pq.read_table(out / "users.parquet").to_pylist()}


def test_a_group_is_the_longest_prefix_that_enough_users_share(tmp_path):
    out = tmp_path / "groups"
    summary = run(write_profiles(tmp_path / "profiles", [*PLACES, None]), out, CONFIG, BeamConfig())
    users = users_of(out)
    assert [users[user]["level"] for user in "abcdefghijkl"] == [2] * 5 + [1] * 2 + [2] * 3 + [1, 0]
    assert users["l"] == {"user_id": "l", "codes": [], "group": "", "level": 0}
    assert users["a"]["group"] == "-".join(map(str, users["a"]["codes"])) == users["e"]["group"]
    assert users["f"]["group"] == users["g"]["group"] == str(users["a"]["codes"][0])
    groups = {row["group"]: (row["level"], row["members"]) for row in pq.read_table(out / "groups.parquet").to_pylist()}
    far, near = users["a"]["codes"][0], users["h"]["codes"][0]
    fine = {users["a"]["group"]: (2, 5), users["h"]["group"]: (2, 3)}
    assert groups == {"": (0, 12), str(far): (1, 7), str(near): (1, 4), **fine}
    assert summary["users"] == {"0": 1, "1": 3, "2": 8}
    assert summary["per_level"][0]["dead"] == summary["per_level"][1]["dead"] == 0
    assert summary["per_level"][0]["error"] == pytest.approx(1 / 101, rel=0.3)  # what is left is 1 in 101
    shares = np.array([7, 4]) / 11
    assert summary["per_level"][0]["balance"] == pytest.approx(np.exp(-(shares * np.log(shares)).sum()) / 2)
    manifest = user_groups.read(out, hashes=True)
    assert manifest["version"] == user_groups.version_of(user_groups.codebook(out), manifest["fitted_on"])


def test_how_the_profiles_are_cut_does_not_show(tmp_path):
    for name, rows in (("whole", 100), ("cut", 3)):
        run(write_profiles(tmp_path / name / "profiles", rows=rows), tmp_path / name / "groups", CONFIG, BeamConfig())
    for file in ("users.parquet", "groups.parquet", "codebook.npz"):
        assert (tmp_path / "whole" / "groups" / file).read_bytes() == (tmp_path / "cut" / "groups" / file).read_bytes()


def test_a_centroid_that_no_user_has_is_dead(tmp_path):
    config = GroupConfig(levels=1, k=4, min_members=1, sample=100, iterations=5)
    summary = run(write_profiles(tmp_path / "p", [(1, 0)] * 5 + [(0, 1)] * 5), tmp_path / "g", config, BeamConfig())
    assert summary["per_level"][0] == {"error": pytest.approx(0, abs=1e-6), "balance": pytest.approx(0.5), "dead": 2}


def test_new_users_get_a_group_of_the_kept_codebook_without_learning(tmp_path):
    run(write_profiles(tmp_path / "profiles"), tmp_path / "groups", CONFIG, BeamConfig())
    before = user_groups.read(tmp_path / "groups")
    more = write_profiles(tmp_path / "more", [(10, 1), (-10, -1), (90, 5), None])
    kept = GroupConfig(keep=str(tmp_path / "groups"), min_members=1000)
    summary = run(more, tmp_path / "later", kept, BeamConfig())
    assert summary["version"] == before["version"]
    old, new = users_of(tmp_path / "groups"), users_of(tmp_path / "later")
    assert new["a"]["group"] == old["a"]["group"]  # though nobody else is there now
    assert new["b"]["group"] == old["k"]["group"]
    assert new["c"]["codes"][0] == old["a"]["codes"][0]
    assert new["d"]["group"] == ""
    for file in ("groups.parquet", "codebook.npz"):
        assert (tmp_path / "later" / file).stat().st_size == (tmp_path / "groups" / file).stat().st_size


def test_profiles_of_another_model_do_not_fit_a_kept_codebook(tmp_path):
    run(write_profiles(tmp_path / "profiles"), tmp_path / "groups", CONFIG, BeamConfig())
    other = write_profiles(tmp_path / "other", model_id="n")
    with pytest.raises(DataError, match=r"field 'model_id': is stale: it must be of 'n' \(got 'm'\)"):
        run(other, tmp_path / "later", GroupConfig(keep=str(tmp_path / "groups")), BeamConfig())
    assert not (tmp_path / "later").exists()


def test_too_few_profiles_or_none_are_told(tmp_path):
    with pytest.raises(ValueError, match="groups.k must be at most the users it learns from"):
        run(write_profiles(tmp_path / "few"), tmp_path / "out", GroupConfig(k=64, sample=64), BeamConfig())
    with pytest.raises(DataError, match="no user has a vector"):
        run(write_profiles(tmp_path / "none", [None, None]), tmp_path / "out", CONFIG, BeamConfig())
    with pytest.raises(DataError, match="no MANIFEST.json"):
        run(tmp_path / "nowhere", tmp_path / "out", CONFIG, BeamConfig())
    assert not (tmp_path / "out").exists()
