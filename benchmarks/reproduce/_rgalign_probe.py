"""A linear probe: what a reasoner's vectors tell of clicks, however a ranker is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from feature_store import requests
from feature_store.request_schema import CANDIDATES, LABEL_TIME, LABELS, REQUEST_ID, USER_ID
from feature_store.session_requests import QUERY
from trainer.calibration import Calibration
from trainer.requests import evaluate as request_evaluate
from trainer.requests.config import RequestEvaluateConfig
from trainer.requests.input import Requests
from trainer.requests.metrics import metrics_of
from trainer.requests.scores import Scored

ALPHAS = tuple(10.0**power for power in range(0, 7))
"""λ of the ridge regression, of which validation chooses."""


def run(folder: Path, out: Path, evaluate: RequestEvaluateConfig, select: str) -> dict[str, Any]:
    """Evaluates the probe of the requests in ``folder`` as `request_evaluate.run` a model: a ridge regression from the
    query's vector, standardised by training, to each intent's share of the session's clicks; λ is that of the highest
    ``select`` on validation."""
    data = Requests(folder)
    train, valid, test = (_read(data, split) for split in ("train", "valid", "test"))
    scale = StandardScaler().fit(train[0])
    wanted = train[1].labels / np.maximum(train[1].labels.sum(1, keepdims=True), 1)
    found = []
    for alpha in ALPHAS:
        fitted = Ridge(alpha=alpha).fit(_standardised(scale, train[0]), wanted)
        of_valid = metrics_of(_scored(fitted, scale, *valid))
        found.append((of_valid[select], alpha, fitted, of_valid))
    _, alpha, fitted, of_valid = max(found, key=lambda one: one[0])
    about = {"model": "probe", "alpha": alpha, "valid": of_valid}
    scored = _scored(fitted, scale, *test)
    return request_evaluate.write(out, data, scored, Calibration(1.0, 0.0), evaluate, about)


def _read(data: Requests, split: str) -> tuple[np.ndarray, Scored]:
    """A split's vectors (R, D), NaN where there is none, and its requests without scores."""
    names = [USER_ID, REQUEST_ID, LABEL_TIME, CANDIDATES, LABELS, QUERY]
    rows = requests.read_rows(data.folder, split, names).to_pylist()
    place = {name: number for number, name in enumerate(data.items.ids)}
    labels = np.zeros((len(rows), len(place)), np.float32)
    for number, row in enumerate(rows):
        for name, label in zip(row[CANDIDATES], row[LABELS], strict=True):
            labels[number, place[name]] = label
    user, request = (np.array([row[name] for row in rows]) for name in (USER_ID, REQUEST_ID))
    time, vectors = np.array([row[LABEL_TIME] for row in rows]), np.array([row[QUERY] for row in rows], np.float64)
    vectors[~np.any(vectors, axis=1)] = np.nan
    return vectors, Scored(user, request, time, np.ones_like(labels, bool), labels, np.zeros_like(labels), {})


def _scored(fitted: Ridge, scale: StandardScaler, vectors: np.ndarray, rows: Scored) -> Scored:
    logits = fitted.predict(_standardised(scale, vectors))
    return Scored(rows.user, rows.request, rows.time, rows.present, rows.labels, logits, {})


def _standardised(scale: StandardScaler, vectors: np.ndarray) -> np.ndarray:
    """What is missing is the mean."""
    return np.nan_to_num(scale.transform(vectors))
