import numpy as np
import pytest
import tensorflow as tf

from trainer import metrics
from trainer.cluster.ranking import kept


@pytest.mark.parametrize("slot", ["", "average", "likeness"])
@pytest.mark.parametrize("split", ["valid", "test"])
def test_a_cluster_ranks_as_one_process_does(sight, slot, split):
    here, there = ([np.array(column) for column in sight[f"{slot} {split} {where}"]] for where in ("here", "there"))
    assert len(here[0]) > 5  # more than one batch
    assert (here[0] == there[0]).all() and (here[3] == there[3]).all()
    alone, spread = (metrics.per_user(above, tied, (5, 10)) for _, above, tied, _ in (here, there))
    for name, values in alone.items():
        assert spread[name].mean() == pytest.approx(values.mean(), abs=1e-6)


def test_the_averaged_weights_rank_otherwise_than_the_last(sight):
    assert sight[" test there"] != sight["average test there"]


def test_validation_within_training_is_that_of_one_process(sight):
    _, above, tied, _ = (np.array(column) for column in sight["average valid here"])
    for name, values in metrics.per_user(above, tied, (5, 10)).items():
        assert sight["history"][-1][f"valid/{name}"] == pytest.approx(values.mean(), abs=1e-6)


def test_the_evaluation_stage_gives_the_same_figures_on_a_cluster(sight):
    for split in ("valid", "test"):
        here, there = sight["evaluate here"][split], sight["evaluate there"][split]
        assert here.pop("users") == there.pop("users")
        for name in here:
            assert there[name]["mean"] == pytest.approx(here[name]["mean"], abs=1e-6)


def test_nan_scores_are_refused_by_the_coordinator(sight):
    assert "must not be NaN" in sight["nan"]


def test_what_is_kept_is_made_once_for_each_version():
    made = tf.Variable(0.0)

    @tf.function
    def read(version):
        return kept("test_ranking", (2, 3), version, lambda: tf.fill((2, 3), made.assign_add(1.0)))

    versions = [7, 7, 8, 8, 7]
    found = [float(read(tf.constant(version, tf.int64))[1, 2]) for version in versions]
    assert found == [1, 1, 2, 2, 3]
