import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_store import folders, user_knowledge
from feature_store.config import ExampleConfig, FeatureConfig
from feature_store.errors import DataError
from feature_store.examples import read_manifest, read_rows, write

LOG = [(user, f"i{time}", time) for user in ("ann", "bob", "cy") for time in range(1, 6)]


@pytest.fixture
def examples(make_tables, make_features, tmp_path):
    tables = make_tables(LOG)
    write(tables, make_features(tables, 3), tmp_path / "examples", ExampleConfig(shards=2), FeatureConfig(3))
    return tmp_path / "examples"


@pytest.fixture
def knowledge(examples, tmp_path):
    """Writes knowledge of two parts: [label time, part] of each example; bob's second part has no text."""

    def make(lost=(), **described):
        rows = []
        for split in ("train", "valid", "test"):
            for row in read_rows(examples, split, ["user_id", "label_time"]).to_pylist():
                for part in (0, 1):
                    told = (row["user_id"], part) != ("bob", 1)
                    vector = [float(row["label_time"]), float(part)] if told else None
                    rows.append({**row, "split": split, "part": part, "vector": vector})
        rows = [row for row in rows if (row["user_id"], row["split"]) not in lost]
        rows.sort(key=lambda row: (row["user_id"], row["split"]))
        with folders.new_folder(tmp_path / "users") as folder:
            kinds = {"label_time": pa.int64(), "part": pa.int64(), "vector": pa.list_(pa.float32())}
            schema = pa.schema([(n, kinds.get(n, pa.string())) for n in (*user_knowledge.KEYS, "vector")])
            pq.write_table(pa.Table.from_pylist(rows, schema), folder / "0.parquet")
            manifest = {
                "kind": "user_knowledge", "model_id": "llm@1", "adapter_version": "base", "parts": 2, "width": 2,
                "events": read_manifest(examples)["events"],
                "files": [folders.describe(folder / "0.parquet", folder)], **described,
            }  # fmt: skip
            folders.write_manifest(folder, manifest)
        return tmp_path / "users"

    return make


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
