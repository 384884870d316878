"""`antiphon experiment report`: what each arm of an experiment changed, from the served log and the events."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from antiphon import records
from antiphon.config import Config
from feature_store.checks import require
from feature_store.config import ExperimentConfig

if TYPE_CHECKING:
    from feature_store.experiments import Outcomes

SUSPECT = 0.001  # a p value of the sample-ratio check below this says that the split is broken


def report(config: Config, log: Path, name: str, out: Path | None) -> int:
    """Prints the arms' metrics with their uplift; the last line is JSON, which `out` gets too.

    Returns:
        0; 1 where the sample-ratio check fails.

    Raises:
        ValueError: no such experiment or log, or an arm without at least two users.
    """
    require(name in config.experiments, "--name", f"must be one of {', '.join(config.experiments)}", name)
    from feature_store import experiments, served_log

    exposed = experiments.exposures(name, served_log.read(log))
    experiment = config.experiments[name]
    events = config.folder / "tables" / "events.parquet"
    require(events.is_file(), "tables", "must have been made by `antiphon ingest`", events)
    of_arm, crossed = experiments.outcomes(exposed, events, experiment.days)
    found = {"experiment": name, "crossed_users": crossed, **compare(experiment, of_arm)}
    for line in _lines(found):
        print(line)
    if out:
        records.write_text(out, records.to_json(found))
    print(json.dumps(found))
    return 0 if found["sample_ratio_p"] >= SUSPECT else 1


def compare(experiment: ExperimentConfig, of_arm: dict[str, Outcomes]) -> dict[str, Any]:
    """Users, metrics and uplift of every arm, and the p value of the sample-ratio check.

    Raises:
        ValueError: an arm without at least two users, or one that the experiment does not have.
    """
    from feature_store import uplift

    arms = list(experiment.arms)
    for arm in of_arm:
        require(arm in arms, "the log's arm", f"must be one of {', '.join(arms)}", arm)
    users = {arm: len(of_arm[arm].events) if arm in of_arm else 0 for arm in arms}
    for arm, count in users.items():
        require(count >= 2, f"arm {arm}", "must have at least two users in the log", count)
    metrics = {arm: _metrics(of_arm[arm]) for arm in arms}
    ratios = {arm: {key: uplift.ratio(*parts) for key, parts in found.items()} for arm, found in metrics.items()}
    first, *others = arms
    return {
        "users": users,
        "sample_ratio_p": uplift.sample_ratio(list(users.values()), [arm.share for arm in experiment.arms.values()]),
        "metrics": {arm: {key: found.value for key, found in ratios[arm].items()} for arm in arms},
        "uplift": {
            arm: {key: asdict(uplift.uplift(ratios[first][key], ratios[arm][key])) for key in ratios[arm]}
            for arm in others
        },
    }


def _metrics(of_arm: Outcomes) -> dict[str, tuple[Any, Any]]:
    """Metric → numerators and denominators of the users."""
    one = of_arm.events * 0 + 1
    return {
        "conversion": ((of_arm.events > 0).astype(float), one),
        "events_per_user": (of_arm.events, one),
        "value_per_user": (of_arm.value, one),
        "hits_per_request": (of_arm.hits, of_arm.requests),
    }


def _lines(found: dict[str, Any]) -> list[str]:
    p = found["sample_ratio_p"]
    broken = "" if p >= SUSPECT else ": THE SPLIT IS NOT AS CONFIGURED, do not trust the rest"
    users = ", ".join(f"{arm} {count}" for arm, count in found["users"].items())
    lines = [f"users: {users}; in more than one arm, left out: {found['crossed_users']}"]
    lines.append(f"sample ratio: p {p:.4f}{broken}")
    control = next(iter(found["users"]))
    for arm, by_metric in found["uplift"].items():
        for key, change in by_metric.items():
            lines.append(
                f"{arm} {key}: {found['metrics'][arm][key]:.4f}, {control} {found['metrics'][control][key]:.4f}; "
                f"{change['difference']:+.4f} [{change['low']:+.4f}, {change['high']:+.4f}], p {change['p_value']:.4f}"
            )
    return lines
