import ast

import pytest
import yaml

from feature_store import definitions
from feature_store.config import OnlineStoreConfig
from feature_store.errors import DataError
from feature_store.schema import Field, Schema

SCHEMA = Schema((Field("age", "int64"),), (Field("price", "float32"),), text_width=2)


def test_the_repository_has_every_view_with_its_features_and_types(tmp_path):
    definitions.write_repository(tmp_path / "repo", SCHEMA, OnlineStoreConfig())
    text = (tmp_path / "repo" / "definitions.py").read_text()
    ast.parse(text)
    for line in (
        'Field(name="age", dtype=Int64)',
        'Field(name="history", dtype=Array(String))',
        'Field(name="price", dtype=Float32)',
        'Field(name="vector", dtype=Array(Float32))',
        'path="../user_history.parquet"',
    ):
        assert line in text


def test_a_view_without_features_is_left_out():
    names = [view.name for view in definitions.online_views(Schema())]
    assert names == ["user_history", "item_profile"]


@pytest.mark.parametrize(
    "online, expected",
    [
        (OnlineStoreConfig(), {"type": "sqlite", "path": "../online.db"}),
        (OnlineStoreConfig("redis", "host:1,db=2"), {"type": "redis", "connection_string": "host:1,db=2"}),
        (
            OnlineStoreConfig("redis", "one:1,two:2", cluster=True),
            {"type": "redis", "redis_type": "redis_cluster", "connection_string": "one:1,two:2"},
        ),
    ],
)
def test_the_online_store_is_the_configs(tmp_path, online, expected):
    definitions.write_repository(tmp_path, SCHEMA, online)
    config = yaml.safe_load((tmp_path / "feature_store.yaml").read_text())
    assert config["online_store"] == expected


def test_a_folder_that_is_no_repository_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"not a Feast repository: it has no feature_store.yaml"):
        definitions.open_feast(tmp_path)
