import numpy as np
import pytest

from feature_store import knowledge_shards
from feature_store.config import ExampleConfig, FeatureConfig
from feature_store.errors import DataError
from feature_store.examples import read_manifest, read_rows, write


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_each_file_holds_the_records_of_its_shard_in_their_order(examples, knowledge, tmp_path, split):
    knowledge_shards.write(knowledge(), examples, tmp_path / "shards")
    seen = 0
    for n, shard in enumerate(read_manifest(examples)["splits"][split]["shards"]):
        found = np.fromfile((tmp_path / "shards" / shard["file"]).with_suffix(".f32"), "<f4").reshape(-1, 2, 3)
        rows = read_rows(examples, split, ["user_id", "label_time"], n).to_pylist()
        expected = [
            [[row["label_time"], 0, 1], [0, 0, 0] if row["user_id"] == "bob" else [row["label_time"], 1, 1]]
            for row in rows
        ]
        assert found.tolist() == expected
        seen += len(rows)
    assert seen == 3


def test_the_manifest_tells_mean_and_deviation_of_the_training_split(examples, knowledge, tmp_path):
    """Its five vectors are (3, 0) three times and (3, 1) twice: off by 2/5 or 3/5 in the second value."""
    written = knowledge_shards.write(knowledge(), examples, tmp_path / "shards")
    found = knowledge_shards.statistics(knowledge_shards.read_manifest(tmp_path / "shards", examples))
    np.testing.assert_allclose(found.mean, [3, 0.4], rtol=1e-6)
    assert found.deviation == pytest.approx(np.sqrt((3 * 0.16 + 2 * 0.36) / 10))
    described = {"model_id": "llm@1", "adapter_version": "base", "parts": 2, "width": 2}
    assert described.items() <= written.items()


def test_shards_stand_beside_no_other_examples(make_tables, make_features, examples, knowledge, tmp_path):
    out = tmp_path / "shards"
    with pytest.raises(DataError, match="was not written to the end"):
        knowledge_shards.read_manifest(out)
    knowledge_shards.write(knowledge(), examples, out)
    tables = tmp_path / "tables"
    write(tables, make_features(tables, 2, "short"), tmp_path / "others", ExampleConfig(shards=2), FeatureConfig(2))
    with pytest.raises(DataError, match="was made for other examples than those of .*others; make it again"):
        knowledge_shards.read_manifest(out, tmp_path / "others")
    with pytest.raises(DataError, match="not a folder of knowledge shards"):
        knowledge_shards.read_manifest(knowledge())
