"""Item text to vectors."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from beam_jobs import text_vectors
from beam_jobs.options import BeamConfig
from beam_jobs.text_embedding import TextEmbedding
from beam_jobs.text_vectors import TextJob
from feature_store.table_folder import read_manifest
from llm_offline.config import EmbedConfig
from llm_offline.identity import embedding_id
from llm_offline.prompts import Template

JOB = "embed"


def run(tables: Path, out: Path, embed: EmbedConfig, beam: BeamConfig) -> dict[str, Any]:
    """Writes ``out/*.parquet``: item_id, content_hash, model_id, adapter_version, vector; sorted by item_id.

    An item whose text is empty (no title, no category) has no row, and is counted.

    Returns:
        counts of items, of texts computed and reused, the vectors' width, the model's id, seconds taken.
    Raises:
        DataError: the tables are not whole, or no item has text.
        ValueError: the template names a column that items do not have; the model has fewer layers.
        FileNotFoundError: the model's files are not there.
    """
    started = time.monotonic()
    tables = Path(tables)
    read_manifest(tables)
    items = tables / "items.parquet"
    Template(embed.template, pq.read_schema(items).names)
    job = TextJob(JOB, "item_text", Path(out), embedding_id(embed), ("item_id",))
    render = partial(item_rows, template=embed.template)
    described = {"template": embed.template}
    manifest = text_vectors.run(job, item_pieces(items), render, TextEmbedding(embed, JOB), described, beam)
    count = pq.read_metadata(items).num_rows
    return {
        "items": count,
        "without_text": count - manifest["rows"],
        "computed": manifest["computed"],
        "reused": manifest["texts"] - manifest["computed"],
        "width": manifest["width"],
        "model_id": job.model_id,
        "seconds": round(time.monotonic() - started, 2),
    }


def item_pieces(items: Path) -> list[tuple[str, int]]:
    """The row groups of the items' table."""
    return [(str(items), number) for number in range(pq.read_metadata(items).num_row_groups)]


def item_rows(group: tuple[str, int], template: str) -> pa.Table:
    """item_id and text of a row group's items."""
    path, number = group
    file = pq.ParquetFile(path)
    rendered = Template(template, file.schema_arrow.names)
    columns = list(dict.fromkeys(("item_id", *rendered.columns)))
    rows = file.read_row_group(number, columns=columns).to_pylist()
    texts = pa.array([rendered.render(row) for row in rows], pa.string())
    return pa.table({"item_id": pa.array([row["item_id"] for row in rows], pa.string()), "text": texts})
