"""Tables and knowledge to feature views: offline files, Feast's registry, the online store."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam
import pyarrow as pa
import pyarrow.parquet as pq

from beam_jobs.io import advance, progress, run_pipeline
from beam_jobs.options import BeamConfig
from feature_store import folders
from feature_store.build import latest, write_views
from feature_store.config import FeatureConfig
from feature_store.definitions import apply, online_views, write_repository
from feature_store.online import OnlineStore, open_online_store
from feature_store.schema import Schema

JOB = "materialize"
REPOSITORY = "feature_repo"


def run(
    tables: Path, knowledge: Path | None, out: Path, features: FeatureConfig, beam: BeamConfig
) -> dict[str, Any]:
    """Writes ``<view>.parquet`` for every view, a Feast repository, and each key's newest row online.

    Args:
        knowledge: the folder of the item-text vectors; None leaves the view ``item_text`` out.
    Returns:
        rows offline and keys online per view, the names Feast knows, seconds taken.
    Raises:
        DataError: the tables or the vectors are not whole, or the online store cannot be used.
    """
    started = time.monotonic()
    with folders.new_folder(Path(out)) as folder:
        manifest = write_views(Path(tables), knowledge and Path(knowledge), folder, features.history_length)
        kept = manifest["schema"]
        schema = Schema.from_json(kept, kept["history_length"], kept["text_width"])
        repository = folder / REPOSITORY
        write_repository(repository, schema, features.online)
        applied = apply(repository)
        online = _write_online(folder, repository, schema, beam)
        folders.write_manifest(folder, manifest)
    return {
        "rows": {name: view["rows"] for name, view in manifest["views"].items()},
        "online": online,
        "feast_views": applied,
        "seconds": round(time.monotonic() - started, 2),
    }


def _write_online(folder: Path, repository: Path, schema: Schema, config: BeamConfig) -> dict[str, int]:
    """Writes the newest row of every key of every view, batch by batch; returns the keys per view."""
    views = [view.name for view in online_views(schema)]
    keys = {name: _count_keys(folder, schema, name) for name in views}

    def build(pipeline: apache_beam.Pipeline) -> None:
        _ = (
            pipeline
            | "Views" >> apache_beam.Create(views)
            | "OneAWorker" >> apache_beam.Reshuffle()
            | "Latest" >> apache_beam.FlatMap(_latest, folder, schema)
            | "Spread" >> apache_beam.Reshuffle()
            | "Write" >> apache_beam.ParDo(_WriteOnline(repository, schema))
        )

    with progress(JOB, "key", sum(keys.values())):
        run_pipeline(config, build)
    return keys


def _count_keys(folder: Path, schema: Schema, view: str) -> int:
    key = schema.view(view).key
    return len(pq.read_table(folder / f"{view}.parquet", columns=[key])[key].unique())


def _latest(view: str, folder: Path, schema: Schema) -> Iterator[tuple[str, pa.RecordBatch]]:
    for rows in latest(folder / f"{view}.parquet", schema.view(view)):
        yield view, rows


class _WriteOnline(apache_beam.DoFn):
    """Writes (view, rows) to the online store; a bundle that is run again writes the same."""

    def __init__(self, repository: Path, schema: Schema) -> None:
        self._repository, self._schema = repository, schema
        self._store: OnlineStore | None = None

    def setup(self) -> None:
        self._store = open_online_store(self._repository, self._schema)

    def process(self, element: tuple[str, pa.RecordBatch]) -> None:
        view, rows = element
        self._store.write(view, rows)
        advance(JOB, rows.num_rows)

    def teardown(self) -> None:
        if self._store is not None:
            self._store.close()
