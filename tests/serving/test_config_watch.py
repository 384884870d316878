from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.config_watch import ModelConfigWatch
from serving.registry import ModelRegistry


def write(path: Path, *models: tuple[str, Path], more: str = "") -> None:
    entries = [
        f'config {{ name: "{name}" base_path: "{base}" model_platform: "tensorflow" {more} }}' for name, base in models
    ]
    path.write_text(f"model_config_list {{ {' '.join(entries)} }}")


@pytest.fixture
def registry() -> ModelRegistry:
    return ModelRegistry([], poll_seconds=0)


def test_a_changed_file_changes_what_is_served(
    tmp_path: Path, base_path: Path, publish, registry: ModelRegistry, wait_until: Callable
) -> None:
    publish(1)
    path = tmp_path / "models.config"
    write(path, ("one", base_path))
    watch = ModelConfigWatch(path, registry, seconds=0.02)
    watch.start()
    wait_until(lambda: registry.served("one") == "one")
    write(path, ("two", base_path))
    wait_until(lambda: registry.served("two") == "two" and registry.served("one") == "")
    watch.stop()
    assert list(registry._models) == ["two"]
    write(path, ("one", base_path))
    time.sleep(0.2)  # ten times as long as it waits between two looks
    assert list(registry._models) == ["two"]  # who was stopped looks no more
    registry.stop()


def test_a_file_that_cannot_be_applied_changes_nothing(
    tmp_path: Path, base_path: Path, publish, registry: ModelRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    publish(1)
    path = tmp_path / "models.config"
    watch = ModelConfigWatch(path, registry, seconds=1)
    write(path, ("one", base_path))
    watch.apply()
    with caplog.at_level(logging.ERROR):
        path.write_text("model_config_list { config { nme: 'x' } }")
        watch.apply()
        write(path, ("two", base_path / "missing"))
        watch.apply()
        write(path, ("one", base_path), more='version_labels { key: "canary" value: 2 }')
        watch.apply()
        path.unlink()
        watch.apply()
    assert registry.served("one") == "one"
    said = [record.getMessage() for record in caplog.records]
    reasons = ("not a ModelServerConfig", "is not a folder", "not currently available", "No such file")
    assert len(said) == 4
    assert all(reason in message for reason, message in zip(reasons, said, strict=True))
    registry.stop()


def test_a_label_comes_once_its_version_serves(
    tmp_path: Path, base_path: Path, publish, registry: ModelRegistry
) -> None:
    publish(1)
    path = tmp_path / "models.config"
    write(path, ("one", base_path))
    watch = ModelConfigWatch(path, registry, seconds=1)
    watch.apply()
    write(path, ("one", base_path), more='version_labels { key: "stable" value: 1 }')
    watch.apply()
    assert registry._models["one"].config.labels == {"stable": 1}
    registry.stop()
