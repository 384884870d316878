"""The oracle of simulated requests: what a ranker could reach that knew the rules they were drawn by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from feature_store import requests
from feature_store.errors import DataError
from feature_store.request_schema import CANDIDATES, LABEL_TIME, LABELS, REQUEST_ID, USER_ID
from trainer.calibration import Calibration
from trainer.requests import evaluate as request_evaluate
from trainer.requests.config import RequestEvaluateConfig
from trainer.requests.input import Requests
from trainer.requests.metrics import metrics_of
from trainer.requests.scores import Scored


def run(folder: Path, truth: Path, out: Path, evaluate: RequestEvaluateConfig) -> dict[str, Any]:
    """Evaluates the truth on the test split of requests whose candidates are all items, as `request_evaluate.run` a
    model.

    Args:
      truth: Parquet with ``session_id``, which is the requests' id, and ``probabilities``, in the order of the items'
        ids.

    Raises:
      DataError: a request of the test has no probabilities, or not as many as there are items.
    """
    scored = scores(Requests(folder), truth)
    about = {"model": "oracle", "valid": metrics_of(scored)}
    return request_evaluate.write(out, Requests(folder), scored, Calibration(1.0, 0.0), evaluate, about)


def scores(data: Requests, truth: Path) -> Scored:
    """The test split, scored by the logit of each candidate's probability."""
    rows = requests.read_rows(data.folder, "test", [USER_ID, REQUEST_ID, LABEL_TIME, CANDIDATES, LABELS]).to_pylist()
    held = pq.read_table(truth, columns=["session_id", "probabilities"]).to_pylist()
    known = {row["session_id"]: row["probabilities"] for row in held}
    size, place = len(data.items.ids), {name: number for number, name in enumerate(data.items.ids)}
    chances, labels = np.zeros((len(rows), size)), np.zeros((len(rows), size), np.float32)
    for number, row in enumerate(rows):
        given = known.get(row[REQUEST_ID]) or ()
        if len(given) != size:
            rule = f"has a probability of each of the {size} items for every request of the test"
            raise DataError(rule, file=truth, field=row[REQUEST_ID], value=len(given))
        chances[number] = given
        for name, label in zip(row[CANDIDATES], row[LABELS], strict=True):
            labels[number, place[name]] = label
    chances = np.clip(chances, 1e-9, 1 - 1e-9)
    user, request = (np.array([row[name] for row in rows]) for name in (USER_ID, REQUEST_ID))
    time = np.array([row[LABEL_TIME] for row in rows])
    logits = np.log(chances) - np.log1p(-chances)
    return Scored(user, request, time, np.ones_like(labels, bool), labels, logits, {})
