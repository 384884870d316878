"""Each poll is called by hand here, so what happens is the same every time."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tensorflow_serving.apis import get_model_status_pb2

from serving.model_config import ModelConfig
from serving.status import StatusError
from serving.version_policy import All
from serving.versions import ModelVersions

State = get_model_status_pb2.ModelVersionStatus.State
HISTORY = {"history": np.array([[b"e"]], dtype=object)}


@pytest.fixture
def versions(base_path: Path) -> Iterator[ModelVersions]:
    versions = ModelVersions(ModelConfig("catalogue", base_path), poll_seconds=0)
    yield versions
    versions.stop()


def states(versions: ModelVersions) -> dict[int, str]:
    return {status.version: State.Name(status.state) for status in versions.statuses()}


def best_score(versions: ModelVersions) -> float:
    with versions.acquire() as (_, model):
        return float(model.predict("serving_default", HISTORY)["scores"][0, 0])


def test_an_empty_folder_serves_nothing_yet(versions: ModelVersions, publish) -> None:
    versions.poll()
    with (
        pytest.raises(StatusError, match=r"NOT_FOUND: Servable not found for request: Latest\(catalogue\)"),
        versions.acquire(),
    ):
        pass
    publish(1)
    versions.poll()
    assert best_score(versions) == 4.0


def test_a_newer_version_takes_over(versions: ModelVersions, publish) -> None:
    publish(1)
    versions.poll()
    assert (best_score(versions), states(versions)) == (4.0, {1: "AVAILABLE"})
    publish(2)
    versions.poll()
    assert (best_score(versions), states(versions)) == (8.0, {2: "AVAILABLE", 1: "END"})


def test_versions_are_numbers(versions: ModelVersions, publish) -> None:
    publish(1, number=9)
    publish(2, number=10)
    versions.poll()
    assert states(versions) == {10: "AVAILABLE"}


def test_an_old_version_ends_with_its_last_request(versions: ModelVersions, publish) -> None:
    publish(1)
    versions.poll()
    with versions.acquire() as (version, model):
        publish(2)
        versions.poll()
        assert states(versions) == {2: "AVAILABLE", 1: "UNLOADING"}
        assert version == 1
        assert model.predict("serving_default", HISTORY)["scores"][0, 0] == 4.0
    versions.poll()
    assert states(versions) == {2: "AVAILABLE", 1: "END"}


def test_a_deleted_version_gives_way_to_the_one_before(versions: ModelVersions, publish) -> None:
    publish(1)
    newer = publish(2)
    versions.poll()
    shutil.rmtree(newer)
    versions.poll()
    assert states(versions) == {2: "END", 1: "AVAILABLE"}


def test_a_folder_still_being_copied_is_waited_for(versions: ModelVersions, publish, base_path: Path) -> None:
    publish(1)
    copied = publish(2)
    graph = (copied / "saved_model.pb").rename(base_path / "later")
    versions.poll()
    assert states(versions) == {1: "AVAILABLE"}
    graph.rename(copied / "saved_model.pb")
    versions.poll()
    assert states(versions) == {2: "AVAILABLE", 1: "END"}


def break_graph(folder: Path) -> None:
    (folder / "saved_model.pb").write_bytes(b"\xff\xff")


def break_variables(folder: Path) -> None:
    shutil.rmtree(folder / "variables")


def break_warmup(folder: Path) -> None:
    (folder / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"not a TFRecord")


@pytest.mark.parametrize("damage", [break_graph, break_variables, break_warmup])
def test_a_broken_version_never_replaces_a_good_one(versions: ModelVersions, publish, damage) -> None:
    publish(1)
    versions.poll()
    broken = publish(2)
    damage(broken)
    versions.poll()
    assert (best_score(versions), states(versions)) == (4.0, {2: "END", 1: "AVAILABLE"})
    error = versions.statuses()[0].error
    assert error is not None
    assert str(broken) in error.message


def test_a_broken_version_falls_back_on_the_one_before_at_the_start(versions: ModelVersions, publish) -> None:
    publish(1)
    break_graph(publish(2))
    versions.poll()
    assert states(versions) == {2: "END", 1: "AVAILABLE"}


def test_a_broken_version_is_tried_again_once_it_has_changed(
    versions: ModelVersions, publish, exported: Path
) -> None:
    broken = publish(2)
    break_graph(broken)
    versions.poll()
    versions.poll()
    assert states(versions) == {2: "END"}
    shutil.copy(exported / "2" / "saved_model.pb", broken)
    versions.poll()
    assert (best_score(versions), states(versions)) == (8.0, {2: "AVAILABLE"})


def test_other_names_are_no_versions(versions: ModelVersions, publish, base_path: Path) -> None:
    publish(1)
    for name in ("v2", "-2", "2.5", "٣", "9" * 30, ".hidden"):
        shutil.copytree(base_path / "1", base_path / name)
    (base_path / "3").write_text("a file")
    versions.poll()
    assert states(versions) == {1: "AVAILABLE"}


def test_every_version_can_be_served_by_number_and_label(base_path: Path, publish) -> None:
    publish(1)
    publish(2)
    versions = ModelVersions(
        ModelConfig("catalogue", base_path, All(), {"old": 1, "lost": 7}), poll_seconds=0
    )
    versions.poll()
    with versions.acquire(label="old") as (version, _):
        assert version == 1
    with versions.acquire(version=2) as (version, _):
        assert version == 2
    with (
        pytest.raises(StatusError, match="Unrecognized servable version label: new"),
        versions.acquire(label="new"),
    ):
        pass
    with pytest.raises(StatusError, match=r"Specific\(catalogue, 7\)"), versions.acquire(label="lost"):
        pass
    versions.stop()
    assert states(versions) == {1: "END", 2: "END"}


def test_watches_by_itself(base_path: Path, publish, wait_until) -> None:
    publish(1)
    versions = ModelVersions(ModelConfig("catalogue", base_path), poll_seconds=0.02)
    versions.poll()
    versions.start()
    publish(2)
    wait_until(lambda: states(versions) == {1: "END", 2: "AVAILABLE"})
    versions.stop()
    assert states(versions) == {1: "END", 2: "END"}


def test_outlives_a_folder_that_vanishes(base_path: Path, publish, versions: ModelVersions) -> None:
    publish(1)
    versions.poll()
    base_path.rename(base_path.with_name("away"))
    with pytest.raises(OSError):
        versions.poll()
    assert best_score(versions) == 4.0
    base_path.with_name("away").rename(base_path)
