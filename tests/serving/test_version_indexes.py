from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from feature_store.errors import DataError
from serving.version_indexes import VersionIndexes


def test_each_version_is_searched_in_its_own_index(towers: Path, tower_vectors) -> None:
    indexes, user = VersionIndexes(towers), np.ones((1, 4), np.float32)
    for version in (1, 2, 1):
        best = np.argsort(-tower_vectors(version).sum(axis=1))[:3]
        assert indexes.search(version, user, 3, [[]])[0].tolist() == [[f"i{n}" for n in best]]


def test_holds_the_versions_last_used(towers: Path, tmp_path: Path) -> None:
    for version in (1, 2, 3):
        shutil.copytree(towers / "1" / "assets.extra", tmp_path / str(version) / "assets.extra")
    indexes = VersionIndexes(tmp_path, keep=2)
    first, second = indexes.of(1), indexes.of(2)
    assert indexes.of(1) is first
    indexes.of(3)
    assert indexes.of(1) is first
    assert indexes.of(2) is not second


def test_a_version_without_a_whole_index_is_named(towers: Path) -> None:
    with pytest.raises(DataError, match=f"{towers / '7' / 'assets.extra' / 'index'}: the folder has no MANIFEST.json"):
        VersionIndexes(towers).of(7)
    with pytest.raises(ValueError, match="keep must be at least 1, got 0"):
        VersionIndexes(towers, keep=0)
