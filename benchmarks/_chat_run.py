"""A run of a simulated chatbot that can be served, in a process of its own: python -m benchmarks._chat_run CONFIG WIDTH

The ranker is trained for as long as the config says on queries that were drawn at random: how fast it answers does not
depend on what it has learnt.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from feature_store import folders, session_requests

RANKER = "qe_rec"


def random_queries(run: Path, width: int) -> Path:
    """The folder of a vector of every session of a run."""
    out, draw = run / "knowledge" / "queries", np.random.default_rng(3)
    out.mkdir(parents=True)
    names = pq.read_table(run / "sessions" / "sessions.parquet", columns=["session_id"])["session_id"]
    vectors = draw.normal(size=(len(names), width)).astype(np.float32)
    pq.write_table(pa.table({"session_id": names, "vector": list(vectors)}), out / "part.parquet")
    told = {"kind": session_requests.QUERIES, "width": width, "model_id": "random", "adapter_version": "base"}
    folders.write_manifest(out, {**told, "files": [folders.describe(out / "part.parquet", out)]})
    return out


def main(file: str, width: str) -> None:
    from antiphon import chatbot, records
    from antiphon.config import load
    from feature_store.datasets.chatbot import simulate
    from trainer import train
    from trainer.requests import tower_export

    config = load(file)
    run, requests, model = config.folder, config.folder / "requests", config.folder / "models" / RANKER
    simulate.run(config.chat.simulate, Path(config.chat.path))
    chatbot.ingest(config)
    queries = random_queries(run, int(width))
    session_requests.write(run / "sessions", run / "intents", requests, config.chat, queries=queries)
    train.run(requests, None, model, config.rankers[RANKER])
    made = tower_export.run(requests, model, run / "export" / RANKER, config.export)
    records.write_text(run / "export" / "chosen.json", records.to_json({"variant": RANKER, **made}))


if __name__ == "__main__":
    main(*sys.argv[1:])
