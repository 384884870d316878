from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from serving import index, index_build
from serving.config import IndexConfig
from serving.index import ItemIndex

IVF = IndexConfig(kind="ivf", lists=40, recall=0.9)


@pytest.fixture(scope="module")
def vectors() -> tuple[list[str], np.ndarray, np.ndarray]:
    """2,000 items around 40 centres, and 200 users near items."""
    random = np.random.default_rng(0)
    centres = random.normal(size=(40, 16))
    items = (centres[random.integers(40, size=2000)] + 0.5 * random.normal(size=(2000, 16))).astype(np.float32)
    users = items[random.integers(2000, size=200)] + 0.3 * random.normal(size=(200, 16)).astype(np.float32)
    return [f"i{n}" for n in range(2000)], items, users


def brute_force(items: np.ndarray, users: np.ndarray, k: int) -> list[set[str]]:
    return [{f"i{n}" for n in row} for row in np.argsort(-(users @ items.T), axis=1)[:, :k]]


def test_a_small_catalogue_is_compared_whole(vectors, tmp_path: Path) -> None:
    ids, items, users = vectors
    told = index_build.write(tmp_path / "index", ids, items, users, IndexConfig(exact_up_to=2000))
    assert told == {
        "kind": "exact", "items": 2000, "d": 16, "parameters": {}, "recall@50": 1.0, "recall_users": 200,
    }  # fmt: skip
    found = index.read(tmp_path / "index").search(users, 50)[0]
    assert [set(row) for row in found] == brute_force(items, users, 50)


def test_a_large_one_is_cut_into_lists_and_its_recall_is_measured_on_users_it_was_not_tuned_on(
    vectors, tmp_path: Path
) -> None:
    ids, items, users = vectors
    told = index_build.write(tmp_path / "index", ids, items, users, IndexConfig(exact_up_to=1999, recall=0.9))
    assert (told["kind"], told["parameters"]["lists"], told["recall_users"]) == ("ivf", 89, 100)
    assert 1 < told["parameters"]["probes"] < 89
    found = index.read(tmp_path / "index").search(users[1::2], 50)[0]
    shares = [len(set(row) & best) / 50 for row, best in zip(found, brute_force(items, users[1::2], 50), strict=True)]
    assert told["recall@50"] == pytest.approx(np.mean(shares), abs=1e-5)
    assert told["recall@50"] > 0.85


def test_the_effort_is_the_least_that_finds_enough(vectors, tmp_path: Path) -> None:
    ids, items, users = vectors
    probes = [
        index_build.write(tmp_path / "index", ids, items, users, IndexConfig("ivf", lists=40, recall=recall))[
            "parameters"
        ]["probes"]
        for recall in (0.3, 0.9, 1.0)
    ]
    assert probes[0] < probes[1] < probes[2] <= 40
    exact = ItemIndex(index_build.exact_index(items), ids)
    found = index.read(tmp_path / "index")
    assert index_build.recall_at(50, found, exact, users[::2]) == 1.0
    index.set_effort(found._index, {"probes": probes[2] - probes[2] // 4})
    assert index_build.recall_at(50, found, exact, users[::2]) < 1.0


def test_the_same_vectors_give_the_same_files(vectors, tmp_path: Path) -> None:
    files = []
    for name in ("one", "two"):
        index_build.write(tmp_path / name, *vectors, IVF)
        files.append(json.loads((tmp_path / name / "MANIFEST.json").read_text())["files"])
    assert files[0] == files[1]


def test_an_item_that_ties_with_the_last_counts_as_found() -> None:
    users = np.ones((2, 2), np.float32)
    one = ItemIndex(index_build.exact_index(np.array([[3, 0], [1, 0], [0, 1]], np.float32)), ["a", "b", "c"])
    other = ItemIndex(index_build.exact_index(np.array([[3, 0], [0, 1]], np.float32)), ["a", "c"])
    assert index_build.recall_at(2, other, one, users) == 1.0
    worse = ItemIndex(index_build.exact_index(np.array([[3, 0], [0, 0.5]], np.float32)), ["a", "d"])
    assert index_build.recall_at(2, worse, one, users) == 0.5


def test_fewer_items_than_recall_looks_at(tmp_path: Path) -> None:
    items = np.eye(3, dtype=np.float32)
    told = index_build.write(tmp_path / "index", ["é", "b\n", "c"], items, items, IndexConfig("ivf", recall=1.0))
    assert (told["recall@50"], told["parameters"]["lists"]) == (1.0, 3)
    assert index.read(tmp_path / "index").ids.tolist() == ["é", "b\n", "c"]


@pytest.mark.parametrize(
    ("items", "users", "told"),
    [
        (np.zeros((0, 2), np.float32), np.zeros((2, 2), np.float32), r"items must be \(N, d\)"),
        (np.zeros((1, 2), np.float32), np.zeros((2, 2), np.float32), "one row for each of 2 ids"),
        (np.zeros((2, 2), np.float32), np.zeros((1, 2), np.float32), r"users must be \(U, 2\) with U of at least 2"),
        (np.full((2, 2), np.nan, np.float32), np.zeros((2, 2), np.float32), "items must be finite"),
        (np.zeros((2, 2)), np.zeros((2, 2), np.float32), "items must be finite numbers in float32, got float64"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(items, users, told: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=told):
        index_build.write(tmp_path / "index", ["a", "b"], items, users, IndexConfig())
    assert not (tmp_path / "index").exists()
