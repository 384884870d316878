"""Whether a candidate may be served: rules over what was measured, each with what it saw and why it decided so."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from antiphon.retraining.config import RetrainConfig
from feature_store import folders


@dataclass(frozen=True)
class Finding:
    """One rule's: its name, whether the candidate keeps it, and why."""

    rule: str
    passed: bool
    why: str


def judge(measured: Mapping[str, Any], reports: Iterable[Path], config: RetrainConfig) -> list[Finding]:
    """Every rule's finding; a candidate is served where all passed.

    Args:
        measured: what the step `measure` found, of "serving" and "candidate" or, in the first round, of the candidate
            alone, of which then only the index is judged.
        reports: of others who have a say, such as of skew. Each is a rule: a JSON file that holds {"passes": bool,
            "reasons": [str]}, or a whole folder whose manifest has that as its "verdict".

    Raises:
        DataError: a folder is not whole.
    """
    findings = [_index(measured["index"], config), *_reports(reports)]
    if "serving" not in measured["quality"]:
        return [Finding("quality", True, "there is no stable version to compare with"), *findings]
    beside = [*_segments(measured, config), _calibration(measured, config), *_costs(measured, config)]
    return [_quality(measured, config), *beside, *findings]


def _quality(measured: Mapping[str, Any], config: RetrainConfig) -> Finding:
    metric = config.metric
    before, after = (measured["quality"][name][metric] for name in ("serving", "candidate"))
    test = measured["paired"][metric]
    told = (
        f"{metric} {after:.4f} against {before:.4f} of {measured['users']} users: {test['difference']:+.4f} "
        f"[{test['low']:+.4f}, {test['high']:+.4f}], p = {test['p_value']:.3f}"
    )
    if test["difference"] < 0 and test["p_value"] < config.alpha:
        return Finding("quality", False, f"{told}: worse, at alpha {config.alpha:g}")
    if after < (1 - config.max_loss) * before:
        return Finding("quality", False, f"{told}: loses more than {config.max_loss:.0%}")
    return Finding("quality", True, told)


def _segments(measured: Mapping[str, Any], config: RetrainConfig) -> Iterator[Finding]:
    for name, segment in measured["segments"].items():
        if segment["users"] < config.min_segment:
            why = f"{segment['users']} users, fewer than {config.min_segment}: not judged"
            yield Finding(f"segment: {name}", True, why)
            continue
        before, after = (segment["quality"][side][config.metric] for side in ("serving", "candidate"))
        why = f"{config.metric} {after:.4f} against {before:.4f} of {segment['users']} users"
        yield Finding(f"segment: {name}", after >= (1 - config.max_segment_loss) * before, why)


def _calibration(measured: Mapping[str, Any], config: RetrainConfig) -> Finding:
    before, after = (measured["calibration"][side] for side in ("serving", "candidate"))
    fewest = min(before["hits"], after["hits"])
    if fewest < config.min_segment:
        return Finding("calibration", True, f"{fewest} users, fewer than {config.min_segment}: not judged")
    limit = before["error"] + config.max_calibration_loss
    told = f"{after['error']:.3f} of the chance is misplaced against {before['error']:.3f}, at most {limit:.3f}"
    return Finding("calibration", after["error"] <= limit, told)


def _index(found: Mapping[str, Any], config: RetrainConfig) -> Finding:
    """The candidate's retrieval index finds what exact search does; a stable version's is not dropped."""
    index = found["candidate"]
    if index is None:
        return Finding("index", found.get("serving") is None, "the version has none")
    (name,) = (key for key in index if key.startswith("recall@"))
    told = f"{index['kind']}, {name} {index[name]:.4f} over {index['recall_users']} users"
    return Finding("index", index[name] >= config.min_recall, f"{told}, at least {config.min_recall:g}")


def _costs(measured: Mapping[str, Any], config: RetrainConfig) -> Iterator[Finding]:
    before, after = (measured["size"][name] for name in ("serving", "candidate"))
    yield _ratio("size", after, before, config.max_size_ratio, f"{after:,} bytes against {before:,}")
    before, after = (measured["latency"][name]["p50"] for name in ("serving", "candidate"))
    yield _ratio("latency", after, before, config.max_latency_ratio, f"p50 {after:.2f} ms against {before:.2f}")


def _ratio(rule: str, after: float, before: float, limit: float, told: str) -> Finding:
    return Finding(rule, not limit or after <= limit * before, f"{told}, at most {limit:g} times" if limit else told)


def _reports(paths: Iterable[Path]) -> Iterator[Finding]:
    for path in paths:
        if path.is_dir():
            verdict = folders.read_manifest(path)["verdict"]
        else:
            verdict = json.loads(path.read_text(encoding="utf-8"))
        yield Finding(path.stem, bool(verdict["passes"]), "; ".join(verdict["reasons"]) or "passes")
