import shutil

import pytest

from antiphon.retraining import versions
from antiphon.retraining.state import Places, State
from serving import rollout


@pytest.fixture
def rolled(measured, version):
    """Versions 1 and 2 published, 2 stable; no round under way."""
    _, config = measured()
    places = Places.of(config)
    shutil.rmtree(places.round(2))
    shutil.copytree(version, places.served / "2")
    rollout.write(places.models_config, "ids", places.served, {"stable": 2})
    places.write_state(State(round=2, watermark=9, stable=2, before=(1,)))
    return config


def test_rounds_are_listed_with_labels_and_quality(rolled):
    head, line = versions.listed(rolled).splitlines()
    assert head.split() == ["version", "labels", "ndcg@10", "items", "events", "outcome"]
    assert line.split() == ["1", "0.2500", "3", "4", "promoted"]
    versions.roll_back(rolled)
    assert versions.listed(rolled).splitlines()[1].split()[:2] == ["1", "stable"]


def test_back_and_forth(rolled):
    places = Places.of(rolled)
    assert versions.roll_back(rolled) == "version 1 of ids is stable\n"
    assert rollout.labels(places.models_config, "ids") == {"stable": 1}
    assert (places.read_state().stable, places.read_state().before) == (1, ())
    with pytest.raises(ValueError, match="rollback needs a version that was stable before"):
        versions.roll_back(rolled)
    versions.promote(rolled, 2)
    assert (places.read_state().stable, places.read_state().before) == (2, (1,))
    assert places.read_state().watermark == 9
    with pytest.raises(ValueError, match="must be published in .*, received 3"):
        versions.promote(rolled, 3)


def test_versions_stay_as_they_are_within_a_round(rolled):
    (Places.of(rolled).round(3) / "steps").mkdir(parents=True)
    with pytest.raises(ValueError, match="must not change in a round"):
        versions.promote(rolled, 1)


def test_differences_are_told_field_by_field(rolled):
    found = versions.differences(rolled, 1, 2).splitlines()
    assert "outcome: promoted -> None" in found and not any(line.startswith("items") for line in found)
