"""The text of intents to vectors: what the ranker knows of an intent besides its id."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pyarrow as pa

from beam_jobs import text_vectors
from beam_jobs.options import BeamConfig
from beam_jobs.text_embedding import TextEmbedding
from beam_jobs.text_vectors import TextJob
from feature_store import intents
from llm_offline.config import EmbedConfig
from llm_offline.identity import embedding_id

JOB, KIND = "embed intents", "intent_text"


def run(base: Path, out: Path, embed: EmbedConfig, beam: BeamConfig) -> dict[str, Any]:
    """Writes ``out/*.parquet``: intent_id, content_hash, model_id, adapter_version, vector; of title, description and
    examples (`feature_store.intents.text`).

    Args:
        base: a folder of intents. embed: its template is not read.
    Returns:
        counts of intents, of texts computed and reused, the vectors' width, the model's id, seconds taken.
    Raises:
        DataError: the base is not whole. FileNotFoundError: the model's files are not there.
    """
    started = time.monotonic()
    intents.read_manifest(base)
    job = TextJob(JOB, KIND, Path(out), embedding_id(embed), ("intent_id",))
    manifest = text_vectors.run(job, [str(base)], text_rows, TextEmbedding(embed, JOB), {}, beam)
    return {
        "intents": manifest["rows"],
        "computed": manifest["computed"],
        "reused": manifest["texts"] - manifest["computed"],
        "width": manifest["width"],
        "model_id": job.model_id,
        "seconds": round(time.monotonic() - started, 2),
    }


def text_rows(base: str) -> pa.Table:
    """intent_id and text of all intents."""
    rows = intents.read(Path(base))
    texts = [intents.text(row) for row in rows.to_pylist()]
    return pa.table({"intent_id": rows["intent_id"], "text": pa.array(texts, pa.string())})
