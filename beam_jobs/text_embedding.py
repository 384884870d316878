"""Our sentence embedder as a Beam model handler."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from apache_beam.ml.inference.base import ModelHandler

from beam_jobs.io import advance
from llm_offline.config import EncoderConfig
from llm_offline.embedder import Embedder


def vector_column(vectors: np.ndarray) -> pa.ListArray:
    """(n, D) float32 as a column of lists."""
    offsets = pa.array(range(0, vectors.size + 1, vectors.shape[1]), pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(vectors.ravel()))


class TextEmbedding(ModelHandler[pa.RecordBatch, pa.RecordBatch, Embedder]):
    """Adds the column ``vector`` to record batches that have a column ``text``.

    An element is a whole batch, of texts of like length, and goes through the model as it comes.
    """

    def __init__(self, config: EncoderConfig, job: str) -> None:
        """``job`` is the name of the bar that is moved by each text."""
        super().__init__()
        self._config = config
        self._job = job

    def load_model(self) -> Embedder:
        return Embedder(self._config)

    def should_skip_batching(self) -> bool:
        return True

    def run_inference(
        self, batch: pa.RecordBatch, model: Embedder, inference_args: dict[str, Any] | None = None
    ) -> Iterator[pa.RecordBatch]:
        vectors = model.encode(batch.column("text").to_pylist())  # (n, D)
        advance(self._job, batch.num_rows)
        yield batch.append_column("vector", vector_column(vectors))

    def get_num_bytes(self, batch: pa.RecordBatch) -> int:
        return batch.nbytes
