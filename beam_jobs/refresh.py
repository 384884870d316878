"""Knowledge of the users whose prompts are new, by a language model with an adapter; of all others, what was known.

This is the language model's forward pass of CoCo (§4.2) away from the training: the side process's own code, without
dropout, over batches of `feature_store.selected_prompts`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import apache_beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.ml.inference.base import ModelHandler, RunInference

from beam_jobs.io import advance, progress, run_pipeline, write_parquet
from beam_jobs.options import BeamConfig
from feature_store import folders, user_knowledge
from feature_store.database import connect
from feature_store.errors import DataError
from feature_store.selected_prompts import KEYS, SelectedPrompts
from llm_offline.config import LlmConfig
from llm_offline.knowledge.learner import Learner
from llm_offline.knowledge.logged import described, learner
from llm_offline.knowledge.reasoner import Question
from llm_offline.knowledge.request import digest_of
from llm_offline.knowledge.state import Checkpoints
from llm_offline.knowledge.titles import read_titles

JOB = "refresh"
_FILE_ROWS = 1 << 17

Piece = tuple[str, int]  # a file of selected prompts and a row group of it


def run(
    tables: Path, vocabulary: Path, prompts: Path, adapters: Path, step: int, out: Path, llm: LlmConfig,
    beam: BeamConfig, previous: Path | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Writes ``out``, a folder of user knowledge (`feature_store.user_knowledge`): ``parts`` rows an example.

    The rows of ``prompts`` that are of its newest round go through the language model, the others are taken from
    ``previous``. Each row says which adapter it is of, the manifest the newest. A run that was stopped goes on and has
    lost one batch of 1,024 examples a process.

    Args:
        vocabulary: of the items, whose titles are in ``tables``. adapters: a folder of `Checkpoints`.
        step: of the one to ask. previous: the folder of the round before.
    Returns:
        examples and users computed and in all, users a second, width, model id, adapter version, seconds.
    Raises:
        DataError: a folder is not whole, or ``previous`` is of another language model or of other events, or has not
            the rows that are left.
    """
    started, asked = time.monotonic(), SelectedPrompts(prompts)
    adapter = described(Checkpoints(adapters), step)
    key = _key(asked, adapter, llm)
    unfinished = out.with_name(f".{out.name}.unfinished")
    unfinished.mkdir(parents=True, exist_ok=True)
    pieces = [piece for piece in asked.fresh() if not (unfinished / _name(key, piece)).is_file()]
    if previous is not None:
        before = user_knowledge.read_folder(previous, adapter["model_id"])
        if before["events"] != asked.manifest["events"]:
            raise DataError("is stale: it was made from other events", file=previous)
    if pieces:
        handler = PromptedKnowledge(prompts, tables, vocabulary, adapters, step, llm)
        with progress(JOB, "example", sum(pq.ParquetFile(file).metadata.row_group(n).num_rows for file, n in pieces)):
            _compute(pieces, handler, unfinished, key, beam)
    computing = time.monotonic() - started
    made = [unfinished / _name(key, piece) for piece in asked.fresh()]
    manifest = _assemble(made, previous, asked, adapter, out)
    shutil.rmtree(unfinished)
    users = asked.manifest["fresh_users"]
    return {
        "examples": asked.manifest["rows"],
        "refreshed_examples": asked.manifest["fresh_rows"],
        "users": asked.manifest["users"],
        "refreshed_users": users,
        "users_per_second": round(users / computing, 2),
        **{name: manifest[name] for name in ("width", "model_id", "adapter_version")},
        "seconds": round(time.monotonic() - started, 2),
    }


class PromptedKnowledge(ModelHandler[Piece, tuple[Piece, pa.Table], Any]):
    """What the language model knows of a piece's examples: rows of `user_knowledge` in place of the piece."""

    def __init__(
        self, prompts: Path, tables: Path, vocabulary: Path, adapters: Path, step: int, llm: LlmConfig
    ) -> None:
        super().__init__()
        self._prompts, self._tables, self._vocabulary = prompts, tables, vocabulary
        self._adapters, self._step, self._llm = adapters, step, llm

    def load_model(self) -> _Oracle:
        checkpoints = Checkpoints(self._adapters)
        mine = learner(read_titles(self._tables, self._vocabulary), self._adapters, self._llm)
        checkpoints.restore(mine, self._step)
        return _Oracle(mine, SelectedPrompts(self._prompts), described(checkpoints, self._step))

    def should_skip_batching(self) -> bool:
        return True

    def run_inference(
        self, piece: Piece, model: _Oracle, inference_args: dict[str, Any] | None = None
    ) -> Iterator[tuple[Piece, pa.Table]]:
        rows = pq.ParquetFile(piece[0]).read_row_group(piece[1])
        yield piece, model.knowledge(rows)
        advance(JOB, len(rows))

    def get_num_bytes(self, piece: Piece) -> int:
        return len(piece[0])


class _Oracle:
    """A language model that is asked by one thread at a time: a learner is not made for more."""

    def __init__(self, mine: Learner, asked: SelectedPrompts, adapter: dict[str, Any]) -> None:
        self._learner, self._asked, self._adapter = mine, asked, adapter
        self._alone = threading.Lock()

    def knowledge(self, rows: pa.Table) -> pa.Table:
        with self._alone:
            prompts, mask, history = self._asked.vectors(rows)
            vectors = self._learner.know(Question(prompts, mask, history, None))  # (n, m, d)
        n, m, _ = vectors.shape
        hashes = [digest_of(*each).hex() for each in zip(prompts, mask, history, strict=True)]
        made = {"content_hash": pa.array(np.repeat(hashes, m))}
        made |= {name: pa.repeat(self._adapter[name], n * m) for name in ("model_id", "adapter_version")}
        found = user_knowledge.rows_of(rows, vectors, mask)
        for name, values in made.items():
            found = found.append_column(name, values)
        return found


def _compute(pieces: list[Piece], handler: PromptedKnowledge, unfinished: Path, key: str, beam: BeamConfig) -> None:
    """Leaves the rows of each piece in ``unfinished``."""

    def build(pipeline: apache_beam.Pipeline) -> None:
        _ = (
            pipeline
            | "Pieces" >> apache_beam.Create(pieces)
            | "Spread" >> apache_beam.Reshuffle()
            | "Model" >> RunInference(handler)
            | "Keep" >> apache_beam.MapTuple(lambda piece, rows: write_parquet(unfinished / _name(key, piece), rows))
        )

    run_pipeline(beam, build)


def _key(asked: SelectedPrompts, adapter: dict[str, Any], llm: LlmConfig) -> str:
    """Of all that the knowledge depends on."""
    files = [file["sha256"] for file in asked.manifest["files"]]
    told = [files, adapter["model_id"], adapter["adapter_version"], asdict(llm)]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def _name(key: str, piece: Piece) -> str:
    return f"{key}-{piece[1]:06d}.parquet"


def _assemble(
    made: list[Path], previous: Path | None, asked: SelectedPrompts, adapter: dict[str, Any], out: Path
) -> dict[str, Any]:
    """Puts what was computed and what is taken over into the folder ``out``; returns its manifest.

    Raises:
        DataError: rows are missing.
    """
    files, keys = {"made": [str(path) for path in made]}, ", ".join(KEYS)
    query = "SELECT * FROM read_parquet($made)"
    if previous is not None:
        files["old"] = [str(Path(previous) / part["file"]) for part in folders.read_manifest(previous)["files"]]
        kept = "SELECT * FROM read_parquet($old)"
        others = f"{kept} old ANTI JOIN (SELECT DISTINCT {keys} FROM read_parquet($made)) USING ({keys})"
        query = f"{query} UNION ALL BY NAME {others}" if made else kept
        files = files if made else {"old": files["old"]}
    query = f"SELECT * FROM ({query}) ORDER BY {', '.join(user_knowledge.KEYS)}"
    with connect() as database, folders.new_folder(out) as folder:
        described, rows = [], 0
        for number, batch in enumerate(database.sql(query, params=files).to_arrow_reader(_FILE_ROWS)):
            path = folder / f"{number:05d}.parquet"
            write_parquet(path, pa.Table.from_batches([batch]))
            described.append({"rows": batch.num_rows, **folders.describe(path, folder)})
            rows += batch.num_rows
        manifest = asked.manifest
        if rows != manifest["rows"] * manifest["parts"]:
            wanted = f"must have {manifest['rows']} examples with {manifest['parts']} rows each"
            raise DataError(f"{wanted}: start the first round anew", file=out, value=rows)
        found = {
            "kind": user_knowledge.KIND,
            "model_id": adapter["model_id"],
            "adapter_version": adapter["adapter_version"],
            "events": manifest["events"],
            "parts": manifest["parts"],
            "width": adapter["knowledge_width"],
            "rows": rows,
            "files": described,
        }
        folders.write_manifest(folder, found)
    return found

