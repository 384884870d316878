"""A language model that writes profiles, and the encoder of what it writes, as a Beam model handler."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from apache_beam.ml.inference.base import ModelHandler

from beam_jobs.io import advance
from beam_jobs.text_embedding import vector_column
from llm_offline.profile_config import ProfileConfig
from llm_offline.profile_writer import ProfileWriter

ANSWERS = ("profile", "outcome", "rejected")
"""Columns that come with a vector: the profile, and of `llm_offline.knowledge.answers.Answer` how it came about."""


class WrittenProfile(ModelHandler[pa.RecordBatch, pa.RecordBatch, ProfileWriter]):
    """Adds `ANSWERS` and ``vector`` to record batches that have a column ``text``: what is known of users."""

    def __init__(self, config: ProfileConfig, job: str) -> None:
        """``job`` is the name of the bar that is moved by each text."""
        super().__init__()
        self._config, self._job = config, job

    def load_model(self) -> ProfileWriter:
        return ProfileWriter(self._config)

    def should_skip_batching(self) -> bool:
        return True

    def run_inference(
        self, batch: pa.RecordBatch, model: ProfileWriter, inference_args: dict[str, Any] | None = None
    ) -> Iterator[pa.RecordBatch]:
        found, vectors = model.write(batch.column("text").to_pylist())  # (n, D)
        advance(self._job, batch.num_rows)
        batch = batch.append_column("profile", pa.array([answer.text for answer in found], pa.string()))
        batch = batch.append_column("outcome", pa.array([answer.outcome for answer in found], pa.string()))
        batch = batch.append_column("rejected", pa.array([answer.rejected for answer in found], pa.string()))
        yield batch.append_column("vector", vector_column(vectors))

    def get_num_bytes(self, batch: pa.RecordBatch) -> int:
        return batch.nbytes
