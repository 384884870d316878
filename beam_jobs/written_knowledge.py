"""A language model that writes, and the encoder of what it writes, as a Beam model handler."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.ml.inference.base import ModelHandler

from beam_jobs.io import advance
from beam_jobs.text_embedding import vector_column
from feature_store import folders
from llm_offline.config import SourceConfig
from llm_offline.knowledge.answers import Answer
from llm_offline.knowledge.sources import Writer

ANSWERS = ("answer", "outcome", "verdict", "rounds")
"""Columns that come with a vector: what was written, and `llm_offline.knowledge.answers.Answer`'s other fields."""


class WrittenKnowledge(ModelHandler[pa.RecordBatch, pa.RecordBatch, Writer]):
    """Adds `ANSWERS` and ``vector`` to record batches that have a column ``text``: the facts."""

    def __init__(self, config: SourceConfig, subject: str, job: str, begun: Path | None = None) -> None:
        """``subject`` is user or item; ``job`` is the name of the bar that is moved by each text; ``begun`` is a folder
        of what KAR has of the same model and wording, where R4ec begins with that."""
        super().__init__()
        self._config, self._subject, self._job, self._begun = config, subject, job, begun

    def load_model(self) -> Writer:
        return Writer(self._config, self._subject, self._begun and _answers(self._begun))

    def should_skip_batching(self) -> bool:
        return True

    def run_inference(
        self, batch: pa.RecordBatch, model: Writer, inference_args: dict[str, Any] | None = None
    ) -> Iterator[pa.RecordBatch]:
        found, vectors = model.write(batch.column("text").to_pylist())  # (n, D)
        advance(self._job, batch.num_rows)
        columns = {
            "answer": pa.array([answer.text for answer in found], pa.string()),
            "outcome": pa.array([answer.outcome for answer in found], pa.string()),
            "verdict": pa.array([answer.verdict for answer in found], pa.string()),
            "rounds": pa.array([answer.rounds for answer in found], pa.int64()),
            "vector": vector_column(vectors),
        }
        for name, column in columns.items():
            batch = batch.append_column(name, column)
        yield batch

    def get_num_bytes(self, batch: pa.RecordBatch) -> int:
        return batch.nbytes


def _answers(folder: Path) -> dict[str, Answer]:
    """What a model wrote, by what it was told."""
    files = [folder / part["file"] for part in folders.read_manifest(folder)["files"]]
    rows = pq.read_table(files, columns=["text", "answer", "outcome"]).to_pylist()
    return {row["text"]: Answer(row["answer"], row["outcome"]) for row in rows if row["outcome"]}
