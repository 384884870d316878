"""Pipeline options shared by every Beam job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from feature_store.checks import at_least, require

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

DASK_RUNNER = "apache_beam.runners.dask.dask_runner.DaskRunner"  # Beam knows no short name for it


@dataclass(frozen=True)
class BeamConfig:
    """Where a job's steps run. A runner on several machines needs paths that all of them see."""

    runner: str = "FnApiRunner"  # FnApiRunner | DaskRunner | FlinkRunner | ...
    options: tuple[str, ...] = ()  # further Beam flags, e.g. "--flink_master=host:8081"
    shards: int = 8  # parts a table is cut into where its rows are grouped; the result does not depend on it

    def __post_init__(self) -> None:
        require(bool(self.runner), "runner", "must name a Beam runner", self.runner)
        at_least("shards", self.shards, 1)
        for option in self.options:
            require(option.startswith("--"), "options", "must be Beam flags, each beginning with --", option)


def pipeline_options(beam: BeamConfig) -> PipelineOptions:
    """Beam's options for a job. The runner is always named: Beam's default would fetch a program to run."""
    from apache_beam.options.pipeline_options import PipelineOptions

    runner = DASK_RUNNER if beam.runner == "DaskRunner" else beam.runner
    return PipelineOptions([f"--runner={runner}", *beam.options])
