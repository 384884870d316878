"""Vectors of what each session's user wonders about, of candidate queries and of intents (RGAlign-Rec §3.2).

Nothing is computed twice: a vector is known by its text's hash, the reasoner's id and its adapter's version.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from apache_beam.ml.inference.base import ModelHandler

from beam_jobs import text_vectors
from beam_jobs.io import advance
from beam_jobs.options import BeamConfig
from beam_jobs.text_embedding import vector_column
from beam_jobs.text_vectors import TextJob
from feature_store import alignment_tables
from llm_offline.adapter import version_of
from llm_offline.alignment.reasoner import Reasoner, reasoner_id
from llm_offline.alignment_config import ReasonerConfig

SESSIONS, CANDIDATES, INTENTS = "query_vectors", "candidate_vectors", "intent_vectors"
"""Kinds of folders."""
_BATCH = 128  # texts of one element: a run that is stopped loses one


class Wondering(ModelHandler[pa.RecordBatch, pa.RecordBatch, Reasoner]):
    """Adds ``vector``, and for sessions ``query``, to record batches that have a column ``text``."""

    def __init__(self, config: ReasonerConfig, adapter: Path | None, kind: str, job: str) -> None:
        """``job`` is the name of the bar that is moved by each text."""
        super().__init__()
        self._config, self._adapter, self._kind, self._job = config, adapter, kind, job

    def load_model(self) -> Reasoner:
        return Reasoner(self._config, self._adapter)

    def should_skip_batching(self) -> bool:
        return True

    def run_inference(
        self, batch: pa.RecordBatch, model: Reasoner, inference_args: dict[str, Any] | None = None
    ) -> Iterator[pa.RecordBatch]:
        texts = batch.column("text").to_pylist()
        if self._kind == SESSIONS:
            vectors, queries = model.of_sessions(texts)
            batch = batch.append_column("query", pa.array(queries, pa.string()))
        else:
            vectors = model.of_queries(texts)
        advance(self._job, batch.num_rows)
        yield batch.append_column("vector", vector_column(vectors))

    def get_num_bytes(self, batch: pa.RecordBatch) -> int:
        return batch.nbytes


def of_sessions(
    sessions: Path, out: Path, config: ReasonerConfig, beam: BeamConfig, adapter: Path | None = None
) -> dict[str, Any]:
    """Writes ``out/*.parquet``: session_id, content_hash, model_id, adapter_version, query, vector; sorted by session.

    A session without a label has no row: no ranker is trained or measured on it.

    Args:
        sessions: a folder of `alignment_tables`' ``session_texts``. adapter: of the reasoner; None is without.
    Returns:
        counts of rows, of those left out, of texts computed and reused, the vectors' width, the reasoner's id and
        adapter, seconds.
    Raises:
        DataError: sessions or adapter are not whole, or no session that has a label has a text.
        FileNotFoundError, ValueError: as `identity.model_id`.
    """
    alignment_tables.read_manifest(sessions, "session_texts")
    return _run(Path(sessions) / "sessions.parquet", ("session_id",), "text", SESSIONS, out, config, beam, adapter)


def of_candidates(
    candidates: Path, out: Path, config: ReasonerConfig, beam: BeamConfig, adapter: Path | None = None
) -> dict[str, Any]:
    """Writes ``out/*.parquet``: session_id, candidate, content_hash, model_id, adapter_version, vector.

    Args:
        candidates: a folder of `alignment_tables`' ``candidates``; an empty query has no row.
    Returns, Raises: as `of_sessions`.
    """
    alignment_tables.read_manifest(candidates, "candidates")
    keys = ("session_id", "candidate")
    return _run(Path(candidates) / "candidates.parquet", keys, "query", CANDIDATES, out, config, beam, adapter)


def of_intents(
    sessions: Path, out: Path, config: ReasonerConfig, beam: BeamConfig, adapter: Path | None = None
) -> dict[str, Any]:
    """Writes ``out/*.parquet``: intent_id, content_hash, model_id, adapter_version, vector; of the intents' titles, as
    if they were queries.

    Returns, Raises: as `of_sessions`.
    """
    alignment_tables.read_manifest(sessions, "session_texts")
    return _run(Path(sessions) / "intents.parquet", ("intent_id",), "title", INTENTS, out, config, beam, adapter)


def text_rows(piece: tuple[str, int], keys: tuple[str, ...], column: str, labels: str = "") -> pa.Table:
    """Keys and text of a row group's rows; with ``labels``, a column of lists, of those alone where it holds one."""
    path, number = piece
    rows = pq.ParquetFile(path).read_row_group(number, columns=[*keys, column, *([labels] if labels else [])])
    if labels:
        rows = rows.filter(pc.greater(pc.fill_null(pc.list_value_length(rows[labels]), 0), 0))
    return rows.select([*keys, column]).rename_columns([*keys, "text"])


def _run(
    table: Path, keys: tuple[str, ...], column: str, kind: str, out: Path, config: ReasonerConfig, beam: BeamConfig,
    adapter: Path | None,
) -> dict[str, Any]:  # fmt: skip
    started, model, version = time.monotonic(), reasoner_id(config), version_of(adapter)
    answers, labels = (("query",), "intents") if kind == SESSIONS else ((), "")
    job = TextJob(
        kind.replace("_", " "), kind, Path(out), model, keys, version, answers, batch_texts=_BATCH, bucket_characters=64
    )  # fmt: skip
    pieces = [(str(table), number) for number in range(pq.read_metadata(table).num_row_groups)]
    handler = Wondering(config, adapter, kind, job.name)
    render = partial(text_rows, keys=keys, column=column, labels=labels)
    manifest = text_vectors.run(job, pieces, render, handler, {}, beam)
    count = pq.read_metadata(table).num_rows
    return {
        "rows": manifest["rows"],
        "left_out": count - manifest["rows"],
        "computed": manifest["computed"],
        "reused": manifest["texts"] - manifest["computed"],
        "width": manifest["width"],
        "model_id": model,
        "adapter_version": version,
        "seconds": round(time.monotonic() - started, 2),
    }
