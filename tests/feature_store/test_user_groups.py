import numpy as np
import pytest

from feature_store import folders, user_groups
from feature_store.errors import DataError
from feature_store.training_window import training_end


def test_a_users_groups_are_the_prefixes_there_are_up_to_the_first_gap():
    names = {"", "3", "3-1", "3-1-2", "4-1"}
    assert user_groups.prefixes([3, 1, 2], names) == ["", "3", "3-1", "3-1-2"]
    assert user_groups.prefixes([3, 1, 0], names) == ["", "3", "3-1"]
    assert user_groups.prefixes([4, 1, 0], names) == [""]
    assert user_groups.prefixes([], names) == [""]


def test_a_version_is_of_the_centroids_and_of_what_they_were_learnt_from():
    levels = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    version = user_groups.version_of(levels, {"model_id": "m", "tables": {"events": "x"}})
    assert version == user_groups.version_of(levels.copy(), {"tables": {"events": "x"}, "model_id": "m"})
    assert version != user_groups.version_of(levels + 1, {"model_id": "m", "tables": {"events": "x"}})
    assert version != user_groups.version_of(levels, {"model_id": "m", "tables": {"events": "y"}})


def test_a_reader_of_another_version_is_refused(tmp_path):
    folders.write_manifest(tmp_path, {"kind": "groups", "version": "aaaa"})
    assert user_groups.read(tmp_path)["version"] == user_groups.read(tmp_path, "aaaa")["version"] == "aaaa"
    with pytest.raises(DataError, match=r"field 'version': is of another codebook: it must be 'bbbb' \(got 'aaaa'\)"):
        user_groups.read(tmp_path, "bbbb")


def test_training_ends_where_asked_else_at_the_datas_test_else_after_the_log():
    tables = {"source": {"test_start": 50}, "window": {"last": 99}}
    assert training_end(tables) == 50
    assert training_end({**tables, "source": {}}) == 100
    assert training_end(tables, "1970-01-02") == training_end(tables, "1970-01-02T01:00+01:00") == 86_400_000_000
