"""The evaluation of models of labelled requests: overall, of users with little activity, and by level of activity."""

from __future__ import annotations

import dataclasses
import json
from bisect import bisect_left
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from feature_store.conversions import ACTIVITY
from feature_store.folders import describe, new_folder, read_manifest, write_manifest
from feature_store.hashing import uniform
from trainer.calibration import Calibration, fit
from trainer.cluster.strategy import IN_PROCESS, Runtime
from trainer.requests import saved as request_saved
from trainer.requests.config import RequestEvaluateConfig
from trainer.requests.input import Requests
from trainer.requests.metrics import metrics_of, of_probabilities
from trainer.requests.scores import RequestScores, Scored
from trainer.requests.statistics import fusion, intervals, measures, paired

SCORES = "scores.npz"


def run(
    folder: Path,
    model: Path,
    out: Path,
    evaluate: RequestEvaluateConfig,
    runtime: Runtime = IN_PROCESS,
    trained_on: Path | None = None,
) -> dict[str, Any]:
    """Evaluates the best checkpoint of ``model`` on the test split of the requests in ``folder``, into ``out``
    (``evaluation/<variant>``).

    ``trained_on`` are the requests that the model was trained on where ``folder`` holds others of the same sessions,
    such as those with another reasoner's queries: vocabularies and statistics are theirs.

    Writes ``metrics.json`` ({"valid": metrics, "test": {segment: {metric: {"mean", "low", "high"}, …}}}) and
    ``scores.npz`` (what ``Scored`` holds of the test, with ``scale`` and ``shift`` of the calibration). The segments
    are ``overall``, ``low`` and ``level_1`` (the least active) and on; ``of_users`` says who is in which.

    Returns:
      What ``metrics.json`` holds.
    """
    data = Requests(folder)
    restored = request_saved.load(model, Requests(trained_on) if trained_on else data, runtime.ps_devices)
    scores = RequestScores(runtime, data, restored.ranker, evaluate.batch)
    valid, test = scores.of("valid"), scores.of("test")
    calibration = fit(valid.logits[valid.present], valid.labels[valid.present])
    about = {"checkpoint": restored.checkpoint.name, "model": restored.config["model"]["kind"]}
    return write(out, data, test, calibration, evaluate, {**about, "valid": metrics_of(valid)})


def write(
    out: Path,
    data: Requests,
    test: Scored,
    calibration: Calibration,
    evaluate: RequestEvaluateConfig,
    about: dict[str, Any],
) -> dict[str, Any]:
    """See ``run``; the scores may be anybody's, such as an oracle's."""
    segments = of_users(data, test, evaluate)
    result = {**about, "calibration": dataclasses.asdict(calibration), "test": {}}
    for name, rows in segments.items():
        result["test"][name] = _summary(test.where(rows), calibration, evaluate)
    with new_folder(out) as scratch:
        parts = {f.name: getattr(test, f.name) for f in dataclasses.fields(test) if f.name != "told"}
        told = {f"told_{name}": values for name, values in test.told.items()}
        np.savez_compressed(scratch / SCORES, **parts, **told, **dataclasses.asdict(calibration))
        (scratch / "metrics.json").write_text(json.dumps(result, indent=1))
        write_manifest(scratch, {"files": [describe(scratch / n, scratch) for n in ("metrics.json", SCORES)]})
    return result


def compare(
    folder: Path, a: Path, b: Path, out: Path | None, evaluate: RequestEvaluateConfig
) -> dict[str, Any]:
    """Paired comparison of two evaluations of the same requests: b − a, for every metric, by segment.

    Raises:
      ValueError: the two were not evaluated on the same requests.
    """
    (one, first), (two, second) = read(a), read(b)
    if not (np.array_equal(one.request, two.request) and np.array_equal(one.labels, two.labels)):
        raise ValueError(f"{a} and {b} were not evaluated on the same requests")
    tests = {}
    for name, rows in of_users(Requests(folder), one, evaluate).items():
        sides = measures(one.where(rows), first), measures(two.where(rows), second)
        found = paired(*sides, evaluate.bootstrap)
        tests[name] = {metric: dataclasses.asdict(comparison) for metric, comparison in found.items()}
    result = {"a": a.name, "b": b.name, "b_minus_a": tests}
    if out is not None:
        scratch = out.with_suffix(".writing")
        scratch.write_text(json.dumps(result, indent=1))
        scratch.rename(out)
    return result


def read(folder: Path) -> tuple[Scored, Calibration]:
    """What ``write`` kept of the test's scores, and their calibration."""
    read_manifest(folder)
    with np.load(folder / SCORES) as held:
        names = [field.name for field in dataclasses.fields(Scored) if field.name != "told"]
        told = {name.removeprefix("told_"): held[name] for name in held.files if name.startswith("told_")}
        scored = Scored(**{name: held[name] for name in names}, told=told)
        return scored, Calibration(float(held["scale"]), float(held["shift"]))


def of_users(data: Requests, test: Scored, evaluate: RequestEvaluateConfig) -> dict[str, np.ndarray]:
    """By segment which requests (R,) are of its users, those of segments without any left out.

    A user's activity is the number of its purchases in training. ``low`` are the users of the tables with the least,
    ``low_share`` of all; a user that training does not know has none. The levels cut the users of the test into parts
    of one size. Equal numbers are in the order of a hash of the user's id, or with ``ties: together`` all on the side
    of the least active, so that parts are of unequal size.
    """
    found = {"overall": np.ones(len(test.user), bool)}
    path = data.folder / ACTIVITY
    if not path.exists():
        return found
    table = pq.read_table(path)
    known = dict(zip(table["user_id"].to_pylist(), table["purchases"].to_pylist(), strict=True))
    users, of = np.unique(test.user, return_inverse=True)

    def place(user: str) -> tuple[int, float]:
        return known.get(user, 0), 0.0 if evaluate.ties == "together" else uniform("activity", user)

    places, everybody = [place(str(user)) for user in users], sorted(map(place, known))
    last = everybody[max(int(evaluate.low_share * len(everybody)) - 1, 0)] if everybody else (0, 0.0)
    found["low"] = np.array([one <= last for one in places])[of]
    before = sorted(places)
    levels = np.array([bisect_left(before, one) for one in places]) * evaluate.levels // len(users)
    for level in range(evaluate.levels):
        found[f"level_{level + 1}"] = (levels == level)[of]
    return {name: rows for name, rows in found.items() if rows.any()}


def _summary(scored: Scored, calibration: Calibration, evaluate: RequestEvaluateConfig) -> dict[str, Any]:
    """Every metric with its interval; beside them those of lists, what is of raw probabilities, and how many."""
    found = {name: dataclasses.asdict(one) for name, one in
             intervals(measures(scored, calibration), evaluate.bootstrap).items()}  # fmt: skip
    raw = metrics_of(scored)
    labels = scored.labels[scored.present]
    told = {
        "ece": of_probabilities(calibration.probability(scored.logits[scored.present]), labels)["ece"],
        "raw": {name: raw[name] for name in ("log_loss", "calibration", "ece")},
        "lists": {name: value for name, value in raw.items() if "@" in name},
        "dropped": raw["dropped"],
        "users": len(np.unique(scored.user)),
        "requests": len(scored.user),
        "positives": int((labels > 0).sum()),
    }
    gate = fusion(scored)
    return found | told | ({} if gate is None else {"fusion": gate})
