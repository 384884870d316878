import json

import pyarrow.parquet as pq
import pytest

from beam_jobs import embed, materialize
from beam_jobs.options import BeamConfig
from feature_store import folders
from feature_store.build import read_features
from feature_store.config import FeatureConfig
from feature_store.definitions import open_feast
from feature_store.errors import DataError
from feature_store.online import open_online_store
from llm_offline.config import EmbedConfig


def test_views_are_written_offline_online_and_known_to_feast(make_tables, tmp_path):
    tables, out = make_tables(), tmp_path / "features"
    embed.run(tables, tmp_path / "item_text", EmbedConfig(layers=1), BeamConfig())
    summary = materialize.run(tables, tmp_path / "item_text", out, FeatureConfig(3), BeamConfig())
    assert summary.pop("seconds") > 0
    assert summary == {
        "rows": {"user_profile": 2, "user_history": 10, "item_profile": 5, "item_text": 4},
        "online": {"user_history": 2, "item_profile": 5, "item_text": 4},
        "feast_views": ["user_history", "item_profile", "item_text"],
    }
    assert json.loads(json.dumps(summary)) == summary

    _, schema = read_features(out, hashes=True)
    with open_online_store(out / "feature_repo", schema) as store:
        assert store.read("user_history", ["u1", "nobody"]) == [
            {"history": ["i3", "i4", "i5"], "event_count": 5},
            {"history": [], "event_count": 0},
        ]
        (text,) = store.read("item_text", ["i1"])
    offline = pq.read_table(out / "item_text.parquet")
    assert text["vector"] == offline["vector"][offline["item_id"].index("i1").as_py()].as_py()
    online = open_feast(out / "feature_repo").get_online_features(
        features=["item_profile:title"], entity_rows=[{"item_id": "i5"}]
    )
    assert online.to_dict()["title"][0].startswith("A brush for the face")


def test_without_knowledge_there_is_no_text_view(make_tables, tmp_path):
    summary = materialize.run(make_tables(), None, tmp_path / "features", FeatureConfig(), BeamConfig())
    assert "item_text" not in summary["rows"]
    assert "item_text" not in summary["feast_views"]


def test_knowledge_that_is_not_whole_is_refused(make_tables, tmp_path):
    out = tmp_path / "features"
    (tmp_path / "item_text").mkdir()
    with pytest.raises(DataError, match=f"has no {folders.MANIFEST}"):
        materialize.run(make_tables(), tmp_path / "item_text", out, FeatureConfig(), BeamConfig())
    assert not out.exists()
