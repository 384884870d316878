from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from serving.predict import SavedModel
from serving.status import StatusError


@pytest.fixture
def model(exported: Path) -> Iterator[SavedModel]:
    model = SavedModel(exported / "1")
    yield model
    model.close()


def strings(*rows: list[str]) -> np.ndarray:
    return np.array([[value.encode() for value in row] for row in rows], dtype=object)


def test_runs_a_signature(model: SavedModel) -> None:
    outputs = model.predict("serving_default", {"history": strings(["e", "a"])})
    assert outputs["items"].tolist() == [[b"d", b"c", b"b"]]
    np.testing.assert_array_equal(outputs["scores"], [[4, 3, 2]])


def test_inputs_reach_their_own_placeholders(model: SavedModel) -> None:
    outputs = model.predict("score", {"candidates": strings(["b", "c"]), "history": strings(["a"])})
    np.testing.assert_array_equal(outputs["scores"], [[2, 3]])


def test_takes_an_empty_batch(model: SavedModel) -> None:
    outputs = model.predict("serving_default", {"history": np.empty((0, 2), object)})
    assert outputs["items"].shape == (0, 3)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"x": np.zeros((1, 3), np.float32)}, r"Tensor x: expected shape \[\?,2\] but got \[1,3\]"),
        ({"x": np.zeros(2, np.float32)}, r"Tensor x: expected shape \[\?,2\] but got \[2\]"),
        ({"x": np.zeros((1, 2))}, r"Expects arg\[1\] to be float but double is provided"),
    ],
)
def test_refuses_other_shapes_and_types(model: SavedModel, inputs: dict, message: str) -> None:
    with pytest.raises(StatusError, match=message):
        model.predict("echo", {"raw_bytes": np.array([b""], object), **inputs})


def test_a_folder_without_a_model_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(StatusError, match=f"NOT_FOUND: {tmp_path}"):
        SavedModel(tmp_path)


def test_a_model_that_cannot_be_read_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"\xff\xff")
    with pytest.raises(StatusError, match=str(tmp_path)):
        SavedModel(tmp_path)
