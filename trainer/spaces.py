"""Where users lie in the recommender's space, and where what the language model knows of them does (CoCo, Figure 8)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from trainer import saved
from trainer.config import CocoConfig, LinkConfig
from trainer.input import Examples, held_out
from trainer.llm_link import LlmLink
from trainer.models.coco import CoCo
from trainer.reader import Reader
from trainer.recommender import Recommender


@dataclass(frozen=True)
class Spaces:
    """U users of a split.

    Attributes:
      behaviour: (U, d) h_RS. semantic: (U, d) what is known of each user, the mean over its prompts, as the alignment
        attention reads it beside h_RS.
      codes: (U, most) those selected, nearest first; -1 where there are fewer.
    """

    behaviour: np.ndarray
    semantic: np.ndarray
    codes: np.ndarray


def trained(
    examples: Path, model: Path, llm: LinkConfig, users: int, split: str = "test", batch: int = 512
) -> Spaces:
    """Those of the best checkpoint of ``model``, a variant trained with CoCo by attention.

    Args:
      llm: where the side process with its adapters answers. users: at most; the split's first.
    """
    data = Examples(examples)
    there = saved.load(model, data)
    recommender = there.recommender
    histories = _histories(data, recommender, split, users, batch)
    return _spaces(recommender, recommender.coco, llm, there.step, histories)


def untrained(
    examples: Path, model: Path, start: Path, prompts: str, llm: LinkConfig, users: int, split: str = "test",
    batch: int = 512,
) -> Spaces:  # fmt: skip
    """As `trained`, before anything was learnt: of ``start``, a variant without CoCo, with the language model as it
    came and weights around ``start`` that have not been trained.

    Args:
      prompts: folder or file that ``model`` took its first codes from; "" where it drew them.
    """
    data = Examples(examples)
    recommender, config = saved.load(start, data).recommender, saved.load(model, data).config
    around = CoCo(recommender.model, replace(CocoConfig(**config["coco"]), prompts=prompts), config["seed"])
    return _spaces(recommender, around, llm, 0, _histories(data, recommender, split, users, batch))


def _histories(data: Examples, recommender: Recommender, split: str, users: int, batch: int) -> Iterator[tf.Tensor]:
    """(B, L) of so many users."""
    for rows in held_out(data, split, recommender.config.max_length, batch):
        if users <= 0:
            return
        yield tf.constant(rows.history[:users])
        users -= len(rows.user)


def _spaces(
    recommender: Recommender, coco: CoCo, llm: LinkConfig, step: int, histories: Iterator[tf.Tensor]
) -> Spaces:
    reader = Reader(LlmLink(llm, coco.config.knowledge_width), step)
    know, vectors, parts = reader.through(reader.client()), recommender.pull(), []
    for history in histories:
        h = recommender.states(history, vectors)[0][:, -1]
        selection = coco.prompts(h)
        knowledge = know(selection, history)
        there = tf.cast(knowledge.mask, h.dtype)[..., None]
        known = tf.reduce_sum(coco.fusion.lift(knowledge.h) * there, axis=1) / tf.reduce_sum(there, axis=1)
        codes = tf.where(selection.mask[:, coco.config.shared :], selection.index, -1)
        parts.append((h.numpy(), known.numpy(), codes.numpy()))
    return Spaces(*(np.concatenate(part) for part in zip(*parts, strict=True)))
