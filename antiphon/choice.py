"""Which variant, or ranker, a run exports."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from trainer import config


@dataclass(frozen=True)
class ExportConfig(config.ExportConfig):
    """What is exported, and how a version of it is written."""

    variant: str = ""  # one of ``variants`` or ``rankers``, by name; "" is the one that does best on validation

    @property
    def writing(self) -> config.ExportConfig:
        """How a version is written, whatever it is of."""
        return config.ExportConfig(**{field.name: getattr(self, field.name) for field in fields(config.ExportConfig)})


def needs(export: ExportConfig, trained: Mapping[str, str]) -> tuple[str, ...]:
    """The stages an export waits for: the named variant's training, or every variant's and their evaluation.

    Args:
        trained: by variant, the stage that ends its training.
    """
    return (trained[export.variant],) if export.variant else (*trained.values(), "evaluate")


def choose(models: Path, metrics: Mapping[str, str], export: ExportConfig) -> tuple[str, dict[str, float]]:
    """The variant to export, and the scores on validation that were looked at; the test split never selects.

    Args:
        models: holds every variant's folder.
        metrics: by variant, the metric that selected its checkpoint.
    """
    looked_at = (export.variant,) if export.variant else tuple(metrics)
    scores = {name: _score(models / name, metrics[name]) for name in looked_at}
    return max(scores, key=scores.__getitem__), scores


def _score(model: Path, metric: str) -> float:
    return json.loads((model / "history.json").read_text(encoding="utf-8"))["summary"][f"valid_{metric}"]
