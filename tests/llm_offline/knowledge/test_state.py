import json

import numpy as np
import pytest

from feature_store.errors import DataError
from llm_offline.knowledge.learner import Learner
from llm_offline.knowledge.state import Checkpoints


@pytest.fixture
def learner(reasoner, settings):
    return Learner(reasoner(), settings())


def test_the_checkpoint_that_is_asked_for_is_restored_with_its_session(learner, tmp_path):
    checkpoints = Checkpoints(tmp_path / "llm")
    for version, step in ((1, 10), (2, 20)):
        learner.version = version
        checkpoints.save(learner, session=5, step=step, asked=True)
    assert checkpoints.restore(learner, 10) == 5 and learner.version == 1
    with pytest.raises(DataError, match="ckpt-15"):
        checkpoints.restore(learner, 15)
    assert checkpoints.restore(learner, 0) == 0 and learner.version == 0


def test_those_asked_for_stay_as_long_as_they_are_kept_and_of_the_others_the_newest(learner, tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for step, asked in ((1, True), (2, False), (3, False), (4, True), (5, False)):
        checkpoints.save(learner, 0, step, asked)
    assert checkpoints.steps() == [1, 4, 5]
    checkpoints.keep([4, 5])
    assert checkpoints.steps() == [4, 5]
    checkpoints.keep([4])  # the trainer went back behind step 5
    assert checkpoints.steps() == [4]


def test_a_checkpoint_that_is_not_whole_is_refused_and_one_under_way_is_not_seen(learner, tmp_path):
    checkpoints = Checkpoints(tmp_path)
    folder = checkpoints.save(learner, 0, 3, True)
    (tmp_path / ".ckpt-4.123.part").mkdir()
    assert checkpoints.steps() == [3] and json.loads((folder / "MANIFEST.json").read_text())["step"] == 3
    with (folder / "learner.pt").open("r+b") as file:
        file.seek(100)
        file.write(b"x")
    with pytest.raises(DataError, match="sha256"):
        checkpoints.restore(learner, 3)


def test_a_checkpoint_names_its_adapter_by_what_is_in_it(learner, question, tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2):
        checkpoints.save(learner, 0, step, True)
    learner.learn(3, question(), np.ones((4, 3, 4)))
    checkpoints.save(learner, 0, 3, True)
    one, two, three = (checkpoints.about(step)["adapter_version"] for step in (1, 2, 3))
    assert one == two and one.startswith("0-") and three.startswith("1-") and one[2:] != three[2:]
    assert (checkpoints.about(1)["width"], checkpoints.about(1)["knowledge_width"]) == (12, 4)
