"""Users whose ranking knowledge changed: what they met, which prompts were selected, the ranking before and after."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from feature_store import prompt_codebook
from trainer.input import Examples, Held, held_out
from trainer.ranking import Outcomes, places
from trainer.reader import Reader, StoredReader
from trainer.recommender import Recommender

TOP = 10
"""Items of a ranking that are shown."""


def changes(alone: Outcomes, known: Outcomes) -> np.ndarray:
    """How many places nearer to the top the target is with knowledge (U,); ties at their expectation."""
    return (alone.above + alone.tied / 2.0) - (known.above + known.tied / 2.0)


def chosen(alone: Outcomes, known: Outcomes) -> dict[str, int]:
    """The rows to show, by what they stand for: whose target rose most, the median one, whose target fell most."""
    order = np.argsort(changes(alone, known), kind="stable")
    return {"rose most": int(order[-1]), "median": int(order[len(order) // 2]), "fell most": int(order[0])}


def explain(
    data: Examples,
    recommender: Recommender,
    reader: Reader | StoredReader,
    rows: dict[str, int],
    split: str,
    prompts: str = "",
) -> list[dict[str, Any]]:
    """What knowledge did to the ranking of some rows of a split.

    Args:
      rows: row numbers in the order of the split's files, by what each stands for.
      prompts: the folder the codebook began from, whose sentences name the codes; "" or one that is gone names none.

    Returns:
      for each row what it stands for (``why``), its ``user_id``, ``history`` (item ids) and ``target``;
      whether the language model was ``asked`` or its knowledge was stored; the ``prompts`` selected ({code, text,
      cosine}: the sentence nearest to the code now); and for ``alone`` and ``known`` the target's rank (from 1,
      ties at their expectation) and the first items.
    """
    vectors = recommender.pull()
    client = reader.client() if reader.asks else None
    held = _rows(data, recommender, split, list(rows.values()))
    names = _names(recommender, prompts)
    found = []
    for why, row in zip(rows, held, strict=True):
        history = tf.constant(row.history)
        know = reader.through(client, data.piece(split, rows[why]))
        codes = _codes(recommender, recommender.states(history, vectors)[0][:, -1]) if reader.asks else []
        rankings = {
            kind: _ranking(recommender.scores(history, vectors, asked), row, data)
            for kind, asked in (("alone", None), ("known", know))
        }
        ids = data.vocabulary.ids
        found.append(
            {
                "why": why,
                "user_id": row.user[0].decode(),
                "history": [ids[item - 1] for item in row.history[0] if item],
                "target": ids[row.target[0] - 1],
                "asked": reader.asks,
                "prompts": [{"code": code, **names(code)} for code in codes],
                **rankings,
            }
        )
    return found


def _rows(data: Examples, recommender: Recommender, split: str, numbers: Sequence[int]) -> list[Held]:
    """One row each, in the order of ``numbers``."""
    found: dict[int, Held] = {}
    for number, row in enumerate(held_out(data, split, recommender.config.max_length, 1)):
        if number in numbers:
            found[number] = row
    return [found[number] for number in numbers]


def _codes(recommender: Recommender, h: tf.Tensor) -> list[int]:
    """The codes selected for one user's h_RS (1, d), nearest first."""
    selection = recommender.coco.prompts(h)
    there = selection.mask[0, selection.mask.shape[1] - selection.index.shape[1] :]
    return tf.boolean_mask(selection.index[0], there).numpy().tolist()


def _names(recommender: Recommender, folder: str):
    """Code -> the sentence nearest to it by cosine, where the codebook has codes and the folder is there."""
    if recommender.coco.config.fixed or not folder or not Path(folder).is_dir():
        return lambda code: {}
    codes = recommender.coco.codebook.codes.numpy()
    first = prompt_codebook.read(Path(folder), len(codes))
    now, then = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (codes, first.private))
    cosines = now @ then.T  # (K, K)
    nearest = cosines.argmax(1)
    return lambda code: {"text": first.texts[nearest[code]], "cosine": float(cosines[code, nearest[code]])}


def _ranking(scores: tf.Tensor, row: Held, data: Examples) -> dict[str, Any]:
    above, tied = places(scores, row)
    masked = scores.numpy()[0].copy()
    masked[0] = -np.inf
    masked[row.seen_item[row.seen_item != row.target[0]]] = -np.inf
    first = np.argsort(-masked, kind="stable")[:TOP]
    ids = data.vocabulary.ids
    return {"rank": 1.0 + float(above[0]) + float(tied[0]) / 2.0, "items": [ids[item - 1] for item in first]}
