import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_store.errors import DataError
from feature_store.selected_prompts import SCHEMA, SelectedPrompts, rows_of, write

CODES, SHARED = np.arange(12, dtype=np.float32).reshape(4, 3), np.full((1, 3), 9, np.float32)


def rows(users, codes, split="train"):
    return pa.table(
        {
            "user_id": users,
            "split": [split] * len(users),
            "label_time": list(range(len(users))),
            "history": [[1, 2][: 1 + n % 2] for n in range(len(users))],
            "codes": codes,
            "weights": [[1.0, 0.5][: len(one)] for one in codes],
        },
        SCHEMA,
    )


def test_a_row_s_prompts_are_the_shared_ones_and_its_codes_by_their_weights(tmp_path):
    both = rows(["a", "b"], [[2, 0], []])
    found = write(tmp_path / "0", [both.slice(0, 1), both.slice(1)], CODES, SHARED, 0, {"parts": 3})
    assert (found["rows"], found["users"], found["fresh_users"], found["width"]) == (2, 2, 2, 3)
    asked = SelectedPrompts(tmp_path / "0")
    assert len(asked.fresh()) == 2  # a group for each piece
    prompts, mask, history = asked.vectors(pa.concat_tables(pq.read_table(file) for file in rows_of(asked.folder)))
    np.testing.assert_array_equal(prompts[0], [[9, 9, 9], [6, 7, 8], [0, 0.5, 1]])
    np.testing.assert_array_equal(prompts[1], [[9, 9, 9], [0, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(mask, [[1, 1, 1], [1, 0, 0]])
    np.testing.assert_array_equal(history, [[0, 1], [1, 2]])


def test_users_without_new_prompts_keep_theirs_and_the_codebook_of_their_round(tmp_path):
    first = pa.concat_tables([rows(["a", "b", "c"], [[0], [1], [2]]), rows(["b"], [[3]], "test")])
    write(tmp_path / "0", [first], CODES, SHARED, 0, {"parts": 2})
    write(tmp_path / "1", [rows(["a"], [[0]])], CODES + 20, SHARED, 1, {"parts": 2}, tmp_path / "0")
    found = write(tmp_path / "2", [rows(["b"], [[3]])], CODES + 40, SHARED, 2, {"parts": 2}, tmp_path / "1")
    assert (found["rows"], found["users"], found["fresh_rows"], found["fresh_users"]) == (3, 3, 1, 1)
    assert found["rounds"] == [0, 1, 2]
    asked = SelectedPrompts(tmp_path / "2")
    table = pa.concat_tables(pq.read_table(file) for file in rows_of(asked.folder)).sort_by("user_id")
    prompts, _, _ = asked.vectors(table.combine_chunks())
    assert table["user_id"].to_pylist() == ["a", "b", "c"]
    np.testing.assert_array_equal(prompts[:, 1], [CODES[0] + 20, CODES[3] + 40, CODES[2]])


def test_a_folder_that_is_not_whole_is_refused(tmp_path):
    write(tmp_path / "0", [rows(["a"], [[0]])], CODES, SHARED, 0, {"parts": 2})
    (tmp_path / "0" / "codebook-0.npz").unlink()
    with pytest.raises(DataError, match="codebook-0.npz"):
        write(tmp_path / "1", [rows(["a"], [[0]])], CODES, SHARED, 1, {"parts": 2}, tmp_path / "0")
    assert not (tmp_path / "1").exists()
