"""Pipeline options shared by every Beam job."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BeamConfig:
    runner: str = "FnApiRunner"  # FnApiRunner | DaskRunner | FlinkRunner | ...
    options: tuple[str, ...] = ()  # further Beam flags, e.g. "--flink_master=host:8081"
