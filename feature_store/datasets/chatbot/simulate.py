"""`antiphon simulate chatbot`: sessions of any size, a block of users at a time, the same for the same seed.

A folder has ``sessions.parquet`` (`session_schema` with the 89 features of `features.py`), ``schema.json``, and apart
from these ``truth/truth.parquet``: ``session_id``, ``intents`` (the true ones, the first first) and, of the last week,
``probabilities`` (each intent's chance to be one of the true ones given all that is to be seen, in the order of the
base's ids). Nothing but the oracle and the measure of rewards reads the truth. MANIFEST.json comes last.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from feature_store import folders
from feature_store.chat_config import SimulateConfig
from feature_store.datasets.chatbot.block import block
from feature_store.datasets.chatbot.features import SCHEMA
from feature_store.datasets.chatbot.regions import FIRST_DAY
from feature_store.datasets.chatbot.situations import Situations
from feature_store.datasets.chatbot.wants import entry_days

KIND = "chatbot"
BLOCK = 4000
"""Users simulated at once; another number would be other draws."""
TRUTH = pa.schema([("session_id", pa.string()), ("intents", pa.list_(pa.string())),
                   ("probabilities", pa.list_(pa.float32()))])  # fmt: skip


def run(config: SimulateConfig, out: Path) -> dict[str, Any]:
    """Writes the folder whole.

    Returns:
        counts of users, sessions, sessions with a click and sessions of the test week; and of the oracle in the test
        week how often a true intent is among its first 3 (``oracle_hit@3``).
    """
    situations = Situations()
    entered = entry_days(situations, config)
    counts = {"sessions": 0, "clicked": 0, "test": 0, "hits": 0}
    with folders.new_folder(Path(out)) as folder:
        (folder / "truth").mkdir()
        paths = folder / "sessions.parquet", folder / "truth" / "truth.parquet"
        with (
            pq.ParquetWriter(paths[0], SCHEMA.arrow(), compression="zstd") as sessions,
            pq.ParquetWriter(paths[1], TRUTH, compression="zstd") as truth,
        ):
            for rows, true in _blocks(config, situations, entered):
                sessions.write_table(rows)
                truth.write_table(true)
                _count(counts, rows, true, situations)
        (folder / "schema.json").write_text(json.dumps(SCHEMA.to_json(), indent=1), encoding="utf-8")
        files = [folders.describe(path, folder) for path in (*paths, folder / "schema.json")]
        last = FIRST_DAY + timedelta(weeks=config.weeks)
        manifest = {
            "kind": KIND,
            "settings": asdict(config),
            "window": {"first": FIRST_DAY.isoformat(), "last": last.isoformat()},
            "late": dict(zip(situations.ids[np.isfinite(entered)], entered[np.isfinite(entered)].round(2).tolist(),
                             strict=True)),
            "files": files,
        }  # fmt: skip
        folders.write_manifest(folder, manifest)
    hits = counts.pop("hits")
    return {"users": config.users, **counts, "oracle_hit@3": round(hits / max(counts["test"], 1), 4)}


def _blocks(
    config: SimulateConfig, situations: Situations, entered: np.ndarray
) -> Iterator[tuple[pa.Table, pa.Table]]:
    with tqdm(total=config.users, desc="simulate", unit="user", delay=2) as bar:
        for number, first in enumerate(range(0, config.users, BLOCK)):
            rng = np.random.default_rng([config.seed, number])
            size = min(BLOCK, config.users - first)
            yield block(rng, situations, entered, config, first, size)
            bar.update(size)


def _count(counts: dict[str, int], rows: pa.Table, true: pa.Table, situations: Situations) -> None:
    counts["sessions"] += len(rows)
    counts["clicked"] += sum(bool(clicks) for clicks in rows["clicked"].to_pylist())
    told = [(each["intents"], each["probabilities"]) for each in true.to_pylist() if each["probabilities"]]
    counts["test"] += len(told)
    if told:
        best = np.argsort(-np.array([chances for _, chances in told]), axis=1, kind="stable")[:, :3]
        counts["hits"] += sum(
            bool(set(intents) & set(situations.ids[top])) for (intents, _), top in zip(told, best, strict=True)
        )
