"""Our sentence embedder as a Beam model handler."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from apache_beam.ml.inference.base import ModelHandler

from beam_jobs.io import advance
from llm_offline.embedder import Embedder


def vector_column(vectors: np.ndarray) -> pa.ListArray:
    """(n, D) float32 as a column of lists."""
    offsets = pa.array(range(0, vectors.size + 1, vectors.shape[1]), pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(vectors.ravel()))


class Encoder(Protocol):
    """Turns texts into vectors."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """n texts -> (n, D) float32."""


class TextEmbedding(ModelHandler[pa.RecordBatch, pa.RecordBatch, Encoder]):
    """Adds the column ``vector`` to record batches that have a column ``text``.

    An element is a whole batch, of texts of like length, and goes through the model as it comes.
    """

    def __init__(self, config: Any, job: str, load: Callable[[Any], Encoder] = Embedder) -> None:
        """``load`` makes an encoder of ``config``, and pickles; ``job`` is the name of the bar that each text moves."""
        super().__init__()
        self._config, self._job, self._load = config, job, load

    def load_model(self) -> Encoder:
        return self._load(self._config)

    def should_skip_batching(self) -> bool:
        return True

    def run_inference(
        self, batch: pa.RecordBatch, model: Encoder, inference_args: dict[str, Any] | None = None
    ) -> Iterator[pa.RecordBatch]:
        vectors = model.encode(batch.column("text").to_pylist())  # (n, D)
        advance(self._job, batch.num_rows)
        yield batch.append_column("vector", vector_column(vectors))

    def get_num_bytes(self, batch: pa.RecordBatch) -> int:
        return batch.nbytes
