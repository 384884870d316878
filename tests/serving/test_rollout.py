import pytest

from serving import model_config, rollout
from serving.version_policy import Specific


def test_a_server_reads_the_versions_and_their_labels(tmp_path):
    base, path = tmp_path / "shop", tmp_path / "models.config"
    for version in (3, 4, 5):
        (base / str(version)).mkdir(parents=True)
    assert rollout.labels(path, "shop") == {}
    rollout.write(path, "shop", base, {"stable": 3}, frozenset({4}))
    (model,) = model_config.read(path)
    assert (model.name, model.base_path, model.policy) == ("shop", base, Specific(frozenset({3, 4})))
    assert model.labels == {"stable": 3}
    rollout.write(path, "shop", base, {"stable": 3, "canary": 4})
    assert rollout.labels(path, "shop") == {"stable": 3, "canary": 4}
    assert rollout.labels(path, "other") == {}
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["models.config"]


def test_a_version_that_is_not_there_is_refused_and_the_file_stays(tmp_path):
    base, path = tmp_path / "shop", tmp_path / "models.config"
    (base / "3").mkdir(parents=True)
    rollout.write(path, "shop", base, {"stable": 3})
    with pytest.raises(FileNotFoundError, match="shop/4: there is no such version"):
        rollout.write(path, "shop", base, {"stable": 3}, frozenset({4}))
    assert rollout.labels(path, "shop") == {"stable": 3}
