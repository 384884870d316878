"""What a language model that was trained along knows of each user: computed once, so that serving need not ask it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf
from tqdm import tqdm

from feature_store import user_knowledge
from feature_store.errors import DataError
from feature_store.examples import read_rows
from trainer import saved
from trainer.config import LinkConfig
from trainer.input import Examples, held_out
from trainer.llm_link import LlmLink
from trainer.models.coco import Knowledge
from trainer.reader import Reader

_ROWS = 256


def run(examples: Path, model: Path, out: Path, llm: LinkConfig) -> dict[str, Any]:
    """Writes ``out``, a folder of user knowledge (`feature_store.user_knowledge`) of every user's newest example.

    That is the test split's, and text up to its target. The best checkpoint of ``model`` selects the prompts, and the
    adapter of the same step answers, as in evaluation.

    Args:
      llm: where the side process with the model's adapters answers.

    Returns:
      ``made_by``, the model_id and adapter_version; users; users per second; seconds.

    Raises:
      FileNotFoundError: the variant has not finished training.
      DataError: the side process has no checkpoint of that step.
    """
    started, data = time.monotonic(), Examples(examples)
    restored = saved.load(model, data)
    config = restored.recommender.coco.config
    link = LlmLink(llm, config.knowledge_width)
    adapters = json.loads(link.status())["adapters"]
    if (made_by := adapters.get(str(restored.step))) is None:
        rule = f"must be one of those that the side process at {llm.address} has: {', '.join(adapters) or 'none'}"
        raise DataError(rule, file=restored.checkpoint, field="step", value=restored.step)
    found = _Known(data, restored, Reader(link, restored.step))
    described = {**made_by, "events": data.manifest["events"], "parts": found.parts, "width": config.knowledge_width}
    users = user_knowledge.write(out, found, described)["rows"] // found.parts
    seconds = time.monotonic() - started
    return {
        "made_by": made_by, "users": users, "users_per_second": round(users / seconds, 2), "seconds": round(seconds, 2),
    }  # fmt: skip


class _Known:
    """Tables of `user_knowledge.rows_of`."""

    def __init__(self, data: Examples, restored: saved.Saved, reader: Reader) -> None:
        recommender = restored.recommender
        self._data, self._length = data, recommender.config.max_length
        vectors, know = tf.constant(recommender.pull()), reader.through(reader.client())

        @tf.function(input_signature=[tf.TensorSpec((None, self._length), tf.int32)], autograph=False)
        def known(history: tf.Tensor) -> Knowledge:
            return know(recommender.selection(history, vectors), history)

        self._known = known
        self.parts = int(known.get_concrete_function().structured_outputs.h.shape[1])

    def __iter__(self) -> Iterator[pa.Table]:
        keys = read_rows(self._data.folder, "test", ["user_id", "label_time"])
        keys = keys.append_column("split", pa.repeat("test", len(keys)))
        first = 0
        with tqdm(total=len(keys), desc="knowledge", unit="user", unit_scale=True) as bar:
            for rows in held_out(self._data, "test", self._length, _ROWS):
                found, count = self._known(tf.constant(rows.history)), len(rows.history)
                here = keys.slice(first, count)
                yield user_knowledge.rows_of(here, np.asarray(found.h), np.asarray(found.mask))
                first += count
                bar.update(count)
