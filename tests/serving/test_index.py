from __future__ import annotations

import json
from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_store.errors import DataError
from serving import index
from serving.index import LOWEST, ItemIndex

IDS = ["a", "b", "c", "d"]
ITEMS = np.array([[1, 0], [0, 1], [1, 1], [-1, 0]], np.float32)


def flat(items: np.ndarray, ids: list[str]) -> ItemIndex:
    found = faiss.IndexFlatIP(items.shape[1])
    found.add(items)
    return ItemIndex(found, ids)


def test_finds_the_largest_inner_products_first() -> None:
    items, scores = flat(ITEMS, IDS).search(np.array([[2, 1], [-1, 0.5]], np.float32), 2)
    assert items.tolist() == [["c", "a"], ["d", "b"]]
    assert scores.tolist() == [[3, 2], [1, 0.5]]


def test_leaves_out_what_was_seen_and_fills_up_with_nothing() -> None:
    users = np.array([[2, 1], [2, 1]], np.float32)
    items, scores = flat(ITEMS, IDS).search(users, 3, [["c", "unknown", "b"], []])
    assert items.tolist() == [["a", "d", ""], ["c", "a", "b"]]
    assert scores.tolist() == [[2, -2, LOWEST], [3, 2, 1]]


@given(seed=st.integers(0, 1000), k=st.integers(1, 12), hidden=st.lists(st.integers(0, 9), max_size=12))
def test_equals_comparing_every_item_that_was_not_seen(seed: int, k: int, hidden: list[int]) -> None:
    random = np.random.default_rng(seed)
    vectors, user = random.normal(size=(10, 3)).astype(np.float32), random.normal(size=(1, 3)).astype(np.float32)
    items, scores = flat(vectors, [str(n) for n in range(10)]).search(user, k, [[str(n) for n in hidden]])
    order = [n for n in np.argsort(-(vectors @ user[0])) if n not in hidden][:k]
    assert items[0].tolist() == [str(n) for n in order] + [""] * (k - len(order))
    np.testing.assert_allclose(scores[0, : len(order)], vectors[order] @ user[0], rtol=1e-5, atol=1e-6)


def test_nobody_finds_nothing() -> None:
    items, scores = flat(ITEMS, IDS).search(np.zeros((0, 2), np.float32), 2)
    assert items.shape == scores.shape == (0, 2)


@pytest.mark.parametrize(
    ("users", "k", "seen", "told"),
    [
        (np.zeros((1, 2)), 0, None, "k must be at least 1, got 0"),
        (np.zeros((1, 3)), 1, None, r"users must be vectors of width 2, got shape \(1, 3\)"),
        (np.zeros(2), 1, None, r"users must be vectors of width 2, got shape \(2,\)"),
        (np.zeros((1, 2)), 1, [[], []], "seen must have a row for each of 1 users, got 2"),
    ],
)
def test_refuses_what_does_not_fit(users: np.ndarray, k: int, seen: list | None, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        flat(ITEMS, IDS).search(users, k, seen)


def test_an_index_has_an_id_for_each_vector() -> None:
    with pytest.raises(ValueError, match="an index must have an id for each vector, got 3 for 4"):
        flat(ITEMS, IDS[:3])


def truncate(folder: Path) -> None:
    path = folder / index.VECTORS
    path.write_bytes(path.read_bytes()[:-4])


def forget(folder: Path) -> None:
    (folder / index.IDS).unlink()


def swap(folder: Path) -> None:
    path = folder / index.IDS
    path.write_text(path.read_text().replace('"i1"', '"i2"', 1))


def rename(folder: Path) -> None:
    path = folder / "MANIFEST.json"
    path.write_text(path.read_text().replace(index.KIND, "features"))


def cut_off(folder: Path) -> None:
    (folder / "MANIFEST.json").unlink()


def shrink(folder: Path) -> None:
    path = folder / "MANIFEST.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"items": 3}))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (truncate, f"{index.VECTORS}: MANIFEST.json says [0-9]+ bytes"),
        (forget, f"{index.IDS}: named in MANIFEST.json but not there"),
        (swap, f"{index.IDS}: MANIFEST.json says sha256"),
        (rename, "not a folder of an item index"),
        (cut_off, "it was not written to the end"),
        (shrink, f"{index.VECTORS}: MANIFEST.json says items 3"),
    ],
)
def test_a_damaged_index_is_refused(write_index, tmp_path: Path, damage, told: str) -> None:
    folder = tmp_path / "index"
    write_index(folder, np.eye(5, dtype=np.float32))
    assert index.read(folder).ids.tolist() == ["i0", "i1", "i2", "i3", "i4"]
    damage(folder)
    with pytest.raises(DataError, match=told):
        index.read(folder)
