import numpy as np
import pytest

from feature_store.request_inputs import array, inputs
from feature_store.request_schema import RequestFeature


@pytest.mark.parametrize(
    ("feature", "value", "expected"),
    [
        (RequestFeature("a", vocabulary="a"), "é", np.array(["é".encode()])),
        (RequestFeature("a", vocabulary="a"), None, np.array([b""])),
        (RequestFeature("a", dtype="int64", vocabulary="a"), None, np.array([-1])),
        (RequestFeature("a", dtype="float32"), 2.5, np.array([2.5], np.float32)),
        (RequestFeature("a", dtype="float32"), None, np.array([np.nan], np.float32)),
        (RequestFeature("a", kind="vector", dtype="float32", length=2), None, np.array([[np.nan, np.nan]], np.float32)),
        (RequestFeature("a", kind="sequence", vocabulary="a", length=3), ["x"], np.array([[b"", b"", b"x"]])),
        (RequestFeature("a", kind="sequence", dtype="int64", vocabulary="a", length=2), [1, 2, 3], np.array([[2, 3]])),
        (RequestFeature("a", kind="bag", vocabulary="a", length=2), None, np.array([[b"", b""]])),
    ],
)
def test_a_value_is_a_batch_of_one(feature, value, expected):
    found = array(value, feature)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype.kind == expected.dtype.kind and found.itemsize == expected.itemsize


def test_a_feature_that_a_row_lacks_is_missing():
    features = (RequestFeature("a", vocabulary="a"), RequestFeature("b", dtype="float32"))
    found = inputs({"a": "x"}, features)
    assert found["a"].tolist() == [b"x"] and np.isnan(found["b"]).all()
