import numpy as np
import pytest

from feature_store import knowledge_view
from feature_store.config import OnlineStoreConfig
from feature_store.definitions import open_feast
from feature_store.errors import DataError


@pytest.fixture
def view(knowledge, tmp_path):
    """The newest of each user is of label time 5; a user's second example in time, of validation, of label time 4."""
    written = knowledge_view.write(knowledge(), tmp_path / "features", OnlineStoreConfig(), "four.templates")
    assert written["users"] == 3
    return tmp_path / "features"


def test_each_user_s_newest_knowledge_is_looked_up(view):
    with knowledge_view.opened(view) as store:
        found = store.read(["bob", "nobody", "ann"], "llm@1", "base")
    assert found.vectors.dtype == np.float32
    assert found.vectors.tolist() == [[[5, 0], [0, 0]], [[0, 0], [0, 0]], [[5, 0], [5, 1]]]
    assert found.mask.tolist() == [[True, False], [False, False], [True, True]]


@pytest.mark.parametrize("made_by", [("llm@2", "base"), ("llm@1", "7")])
def test_of_another_model_or_adapter_nothing_is_known(view, made_by):
    with knowledge_view.opened(view) as store:
        found = store.read(["ann", "bob"], *made_by)
    assert not found.mask.any() and not found.vectors.any()


def test_feast_knows_the_view_and_reads_the_same(view):
    feast = open_feast(view / "feature_repo")
    features = ["user_knowledge:vectors", "user_knowledge:model_id", "user_knowledge:adapter_version"]
    found = feast.get_online_features(features, [{"user_id": "ann"}]).to_dict()
    assert (found["vectors"], found["model_id"], found["adapter_version"]) == ([[5, 0, 5, 1]], ["llm@1"], ["base"])


def test_a_folder_that_is_no_view_is_refused(knowledge, tmp_path):
    with pytest.raises(DataError, match="not a folder of a knowledge view"), knowledge_view.opened(knowledge()):
        pass
    with pytest.raises(DataError, match="was not written to the end"), knowledge_view.opened(tmp_path / "none"):
        pass
