"""Where the knowledge of a training comes from."""

from __future__ import annotations

from typing import NamedTuple

from trainer.collaboration import LinkSource, Source, StoredSource
from trainer.config import TrainConfig
from trainer.input import Examples
from trainer.llm_link import LlmLink
from trainer.reader import Reader, StoredReader
from trainer.recommender import Recommender
from trainer.stored import Stored


class Origin(NamedTuple):
    """What gives knowledge to training and what to validation, and what stands behind both: a link or a store."""

    source: Source | None
    reader: Reader | StoredReader | None
    link: LlmLink | None
    stored: Stored | None


def origin(config: TrainConfig, recommender: Recommender, examples: Examples) -> Origin:
    """As ``config.coco`` says; nothing without it.

    Raises:
      DataError: what is stored is not whole, or not of these examples.
    """
    if recommender.coco is None:
        return Origin(None, None, None, None)
    if config.coco.source:
        stored = Stored(config.coco.source, examples)
        return Origin(StoredSource(), StoredReader(stored), None, stored)
    link = LlmLink(config.llm, recommender.coco.config.knowledge_width)
    return Origin(LinkSource(link), Reader(link), link, None)
