import pytest

from trainer.cluster import environment


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "TF_CONFIG is not JSON"),
        ("[]", "'cluster' must be an object"),
        ('{"cluster": {}}', "'task' must be an object"),
    ],
)
def test_a_wrong_tf_config_is_named(monkeypatch, text, message):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match=message):
        environment.from_environment()


def test_without_tf_config_there_is_no_cluster(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert environment.from_environment() is None
