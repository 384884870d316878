import numpy as np
import pyarrow as pa
import pytest

from feature_store import failures, selected_prompts
from feature_store.errors import DataError


def test_the_log_gives_each_batch_with_the_prompts_its_knowledge_was_made_of(tmp_path):
    keys = {"user_id": ["a", "b", "b", "c"], "split": ["train"] * 3 + ["test"], "label_time": [1, 2, 3, 1]}
    asked = pa.table(
        {**keys, "history": [[1], [2], [3], [4]], "codes": [[0]] * 4, "weights": [[1.0]] * 4}, selected_prompts.SCHEMA
    )
    book = np.zeros((1, 2), np.float32)
    selected_prompts.write(tmp_path / "prompts", [asked], book, book, 0, {"parts": 2})
    gradients = np.arange(12.0).reshape(3, 2, 2)

    def parts():
        yield failures.table(["b"], [3], 1, np.array([0]), gradients[:1])
        yield failures.table([], [], 2, np.array([], np.int64), gradients[:0])  # a batch that failed nobody
        yield failures.table(["a", "b"], [1, 2], 3, np.array([7, 9]), gradients[1:])

    made = failures.write(tmp_path / "log", parts(), {"batches": 3})
    assert (made["failed_rows"], made["failed_users"]) == (3, 2)
    assert failures.users(tmp_path / "log") == {"a", "b"}
    found = list(failures.batches(tmp_path / "log", tmp_path / "prompts"))
    assert [number for number, _ in found] == [1, 3]
    assert [rows["history"].to_pylist() for _, rows in found] == [[[3]], [[1], [2]]]
    np.testing.assert_array_equal(np.concatenate([failures.gradients(rows, 2) for _, rows in found]), gradients)
    assert failures.gradients(found[0][1], 2).dtype == np.float64
    with pytest.raises(DataError, match="not a folder of failures"):
        failures.users(tmp_path / "prompts")
