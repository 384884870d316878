"""Reading what the language model knows, for users whose target is not told: validation and test."""

from __future__ import annotations

import tensorflow as tf

from trainer.layers.prompt_codebook import Selection
from trainer.llm_link import NEWEST, LlmLink
from trainer.models.coco import Know, Knowledge


class Reader:
    """Asks the side process, which learns nothing of it.

    Args:
      step: of the side process's checkpoint whose adapter answers.
    """

    def __init__(self, link: LlmLink, step: int = NEWEST) -> None:
        self._link, self._step = link, step

    def client(self) -> tf.Tensor:
        """A client on the current device."""
        return self._link.client()

    def through(self, client: tf.Tensor) -> Know:
        """What is asked through ``client``, in its graph."""

        def know(selection: Selection, history: tf.Tensor) -> Knowledge:
            h = self._link.know(client, selection.prompts, selection.mask, history, self._step)
            return Knowledge(tf.cast(h, selection.prompts.dtype), selection.mask)

        return know
