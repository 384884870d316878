"""How well each of ChoirRec's channels ranks by itself: what its gate has to choose between."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from trainer.cluster.work_queue import in_order
from trainer.input import PIECES, read_records
from trainer.requests import evaluate as request_evaluate
from trainer.requests import saved as request_saved
from trainer.requests.config import RequestEvaluateConfig
from trainer.requests.input import Requests
from trainer.requests.metrics import metrics_of
from trainer.step import Step

CHANNELS = ("own", "group")
MIXES = np.linspace(0.0, 1.0, 11)
"""Shares of the group channel."""


def apart(asked: Path, model: Path, evaluated: Path, judge: RequestEvaluateConfig) -> dict[str, dict[str, float]]:
    """By segment of the test split the GAUC of each channel, and as ``best`` which of `MIXES`, the same
    for all requests of the segment, has the least log loss.

    Args:
        asked: the requests. model: trained on them. evaluated: its evaluation.

    Raises:
        ValueError: the evaluation is not of this model: the channels' sum by the gate is not what it scored.
    """
    data = Requests(asked)
    ranker = request_saved.load(model, data).ranker

    @tf.function(input_signature=PIECES, autograph=False)
    def unit(files, firsts, counts):
        rows = data.parse(read_records(files, firsts, counts))
        with Step(tf.constant(0, tf.int64), ranker.dense) as step:
            found = ranker.outputs(step, rows)
        return found.logits, found.parts

    units = [unit(*map(tf.constant, one.arguments()[:3])) for one in in_order(data.shards("test"), judge.batch)]
    logits = np.concatenate([one for one, _ in units])
    test, _ = request_evaluate.read(evaluated)
    if logits.shape != test.logits.shape or not np.allclose(logits, test.logits, atol=1e-4):
        raise ValueError(f"{evaluated}: must be the evaluation of {model}, but its scores are others")
    channels = {name: replace(test, logits=np.concatenate([parts[name] for _, parts in units])) for name in CHANNELS}
    told = {}
    for segment, rows in request_evaluate.of_users(data, test, judge).items():
        own, group = (channels[name].where(rows) for name in CHANNELS)
        lost = [metrics_of(replace(own, logits=own.logits + mix * (group.logits - own.logits)))["log_loss"]
                for mix in MIXES]  # fmt: skip
        gauc = {name: metrics_of(scored)["gauc"] for name, scored in zip(CHANNELS, (own, group), strict=True)}
        told[segment] = {**gauc, "best": float(MIXES[np.argmin(lost)])}
    return told
