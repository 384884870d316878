import json
from dataclasses import asdict

import pytest

from feature_store.errors import DataError
from feature_store.request_schema import RequestFeature
from serving import exported_ranker

REGION, QUERY, TEXT = (
    RequestFeature("region", dtype="int64", vocabulary="region"),
    RequestFeature("query", "context", "vector", "float32", length=4),
    RequestFeature("intent_text", "candidate", "vector", "float32", length=2),
)


def write(folder, version, signatures=("rank", "rank_without_query"), **changes):
    told = {
        "model": "qe_rec", "version": version, "signatures": list(signatures), "intents": "b1",
        "features": [asdict(feature) for feature in (REGION, TEXT, QUERY)],
        "config": {"towers": {"omega": 0.6, "query": "query"}}, "query": {"width": 4, "adapter_version": "cl-1"},
        **changes,
    }  # fmt: skip
    path = folder / str(version) / "assets.extra" / "manifest.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(told))


def test_the_newest_version_says_what_it_reads(tmp_path):
    write(tmp_path, 2)
    write(tmp_path, 10)
    found = exported_ranker.newest(tmp_path)
    assert (found.model, found.version, found.features) == ("qe_rec", 10, (REGION,))
    assert (found.query, found.width, found.adapter_version, found.omega) == ("query", 4, "cl-1", 0.6)


def test_a_ranker_without_a_query_tower_takes_the_vector_all_the_same_and_weighs_it_with_0(tmp_path):
    write(tmp_path, 1, ("rank",))
    found = exported_ranker.newest(tmp_path)
    assert (found.query, found.features, found.omega) == ("", (REGION, QUERY), 1.0)


def test_what_is_no_version_or_none_of_a_ranker_s_is_refused(tmp_path):
    with pytest.raises(DataError, match="no exported version; `antiphon export` makes one"):
        exported_ranker.newest(tmp_path / "none")
    write(tmp_path, 1, config={})
    with pytest.raises(DataError, match="is not the manifest of a chatbot's ranker"):
        exported_ranker.newest(tmp_path)
