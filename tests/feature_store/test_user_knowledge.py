import numpy as np
import pytest

from feature_store import user_knowledge
from feature_store.errors import DataError
from feature_store.examples import read_rows


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_vectors_come_in_the_order_of_the_records(knowledge, examples, split):
    rows = read_rows(examples, split, ["user_id", "label_time"]).to_pylist()
    found = user_knowledge.of_split(knowledge(), examples, split, "llm@1", ["base", "7"])
    assert (found.vectors.shape, found.vectors.dtype) == ((3, 2, 2), np.float32)
    for row, vectors, mask in zip(rows, found.vectors, found.mask, strict=True):
        bob = row["user_id"] == "bob"
        assert mask.tolist() == [True, not bob]
        time = row["label_time"]
        assert vectors.tolist() == [[time, 0], [0, 0] if bob else [time, 1]]


def test_what_is_stale_or_missing_is_told(knowledge, examples, tmp_path):
    def read(folder, *expected):
        user_knowledge.of_split(folder, examples, "valid", *expected)

    whole = knowledge()
    with pytest.raises(DataError, match=r"model_id': is stale: it must be of 'llm@2' \(got 'llm@1'\)"):
        read(whole, "llm@2")
    with pytest.raises(DataError, match=r"adapter_version': is stale: it must be one of \['8'\] \(got 'base'\)"):
        read(whole, "", ["8"])
    with pytest.raises(DataError, match=r"1 of 3 valid examples have no knowledge.*got \('ann', 4\)"):
        read(knowledge(lost=[("ann", "valid")]))
    with pytest.raises(DataError, match="made from other events"):
        read(knowledge(events="others"))
    with pytest.raises(DataError, match="not a folder of user knowledge .*item_text"):
        read(knowledge(kind="item_text"))
    with pytest.raises(DataError, match="was not written to the end"):
        read(tmp_path)
