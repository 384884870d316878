from __future__ import annotations

from pathlib import Path

import pytest

from serving import text_config


def test_reads_tf_servings_monitoring_config(tmp_path: Path) -> None:
    path = tmp_path / "monitoring.config"
    path.write_text('prometheus_config { enable: true, path: "/metrics" }')
    config = text_config.read(path, text_config.MonitoringConfig).prometheus_config
    assert (config.enable, config.path) == (True, "/metrics")


def test_says_which_file_is_not_what_it_should_be(tmp_path: Path) -> None:
    path = tmp_path / "monitoring.config"
    path.write_text("prometheus { enable: true }")
    with pytest.raises(ValueError, match="monitoring.config: not a MonitoringConfig: 1:1"):
        text_config.read(path, text_config.MonitoringConfig)
    path.write_bytes(b"\xff")
    with pytest.raises(ValueError, match="monitoring.config: not a MonitoringConfig"):
        text_config.read(path, text_config.MonitoringConfig)
    with pytest.raises(FileNotFoundError):
        text_config.read(tmp_path / "none", text_config.MonitoringConfig)
