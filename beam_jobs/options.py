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


@dataclass(frozen=True)
class SkewConfig:
    """When served features count as skewed or drifted. A feature drifts where a distance is over its limit and the
    samples differ significantly."""

    sample: float = 1.0  # share of users, by a hash of their id
    max_mismatch: float = 0.01  # share of a feature's rows that may differ from what is computed offline
    tolerance: float = 1e-6  # relative, of numbers
    max_psi: float = 0.25
    max_divergence: float = 0.1  # Jensen-Shannon's, bits
    max_ks: float = 0.1
    significance: float = 0.001
    min_rows: int = 100  # with fewer there is no verdict, and so none that passes
    ignore: tuple[str, ...] = ()  # features whose drift is reported, but not judged
    examples: int = 5  # mismatches of a feature that the report shows

    def __post_init__(self) -> None:
        for name in ("sample", "max_mismatch", "max_divergence", "max_ks", "significance"):
            require(0 <= getattr(self, name) <= 1, name, "must be from 0 to 1", getattr(self, name))
        for name in ("tolerance", "max_psi", "examples"):
            at_least(name, getattr(self, name), 0)
        at_least("min_rows", self.min_rows, 1)


@dataclass(frozen=True)
class PriorConfig:
    """What is told of a group of users as a whole (ChoirRec sections 4.3.2 and 4.3.3)."""

    categories: int = 10  # K: the group's most frequent, which its sequence is taken from
    categories_of: str = "leaf"  # of an item: leaf, the last it has | all
    length: int = 20  # items of the sequence
    purchase: str = "purchase"  # the event type of a purchase; "" takes all events
    leave_one_out: bool = False  # also a prior for every user, of the group without that user
    consistency_categories: int = 50  # whose share of a group's purchases tells how consistent it is
    fanout: int = 16  # parts that a group's sums are made in before they are put together

    def __post_init__(self) -> None:
        require(self.categories_of in ("leaf", "all"), "categories_of", "must be 'leaf' or 'all'", self.categories_of)
        for name in ("categories", "length", "consistency_categories", "fanout"):
            at_least(name, getattr(self, name), 1)


def pipeline_options(beam: BeamConfig) -> PipelineOptions:
    """Beam's options for a job. The runner is always named: Beam's default would fetch a program to run."""
    from apache_beam.options.pipeline_options import PipelineOptions

    runner = DASK_RUNNER if beam.runner == "DaskRunner" else beam.runner
    return PipelineOptions([f"--runner={runner}", *beam.options])
