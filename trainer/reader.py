"""Reading what is known of users whose target is not told: validation and test."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from trainer.layers.prompt_codebook import Selection
from trainer.llm_link import NEWEST, LlmLink
from trainer.models.coco import Know, Knowledge
from trainer.stored import Stored


class Reader:
    """Asks the language model's side process, which learns nothing of it.

    Args:
      step: of the side process's checkpoint whose adapter answers.
    """

    asks = True

    def __init__(self, link: LlmLink, step: int = NEWEST) -> None:
        self._link, self._step = link, step

    def client(self) -> tf.Tensor:
        """A client on the current device."""
        return self._link.client()

    def through(self, client: tf.Tensor, pieces: Sequence[tf.Tensor] = ()) -> Know:
        """What is asked through ``client``, in its graph; from where in a split's files users are is no matter."""

        def know(selection: Selection, history: tf.Tensor) -> Knowledge:
            h = self._link.know(client, selection.prompts, selection.mask, history, self._step)
            return Knowledge(tf.cast(h, selection.prompts.dtype), selection.mask)

        return know


class StoredReader:
    """Reads the knowledge that lies beside the users' examples. ``asks`` nobody, through no client."""

    asks = False

    def __init__(self, stored: Stored) -> None:
        self._stored = stored

    def through(self, client: None, pieces: Sequence[tf.Tensor]) -> Know:
        """What is known of the users of some pieces (files, firsts, counts) of a split's files, in their order."""
        found = self._stored.read(*pieces)
        return lambda *_: found
