import json

import pytest

from benchmarks import _fault_data, faults
from trainer.input import Examples


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    return _fault_data.write(tmp_path_factory.mktemp("faults"))


@pytest.fixture(scope="module")
def undisturbed(examples, tmp_path_factory):
    return faults.reference(examples, tmp_path_factory.mktemp("undisturbed"))


def test_the_data_is_what_its_manifest_says(examples):
    data = Examples(examples)
    assert [shard.records for shard in data.shards("train")] == [700, 170, 30]
    assert data.vocabulary.size == 41


@pytest.mark.parametrize("name", faults.SCENARIOS)
def test_training_survives(name, examples, undisturbed, tmp_path):
    outcome = faults.play(name, examples, tmp_path, undisturbed)
    assert outcome.survived, outcome.why
    assert outcome.lost == 0
    losing_a_worker = ("worker", "worker_and_server", "hung_worker", "pods")
    assert outcome.repeated == 0 or name in losing_a_worker
    if name in ("worker", "hung_worker"):
        history = json.loads((tmp_path / name / "history.json").read_text())["epochs"]
        assert history[-1]["worker_0/steps"] > 0  # it came back and was used again
