"""The market's log on disk."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from feature_store import folders
from feature_store.market import behaviour, world
from feature_store.market.config import MarketConfig
from feature_store.market.people import BLOCK

KIND = "market"


def simulate(config: MarketConfig, out: Path, blocks: int = 16) -> dict[str, Any]:
    """Writes ``out/{users,items,events,impressions,searches,truth}.parquet``, MANIFEST.json last.

    ``truth`` has ``impression_id``, ``p_click`` and ``p_convert`` (given a click), in the order of ``impressions``; no
    reader of logs reads it.

    Args:
        blocks: of users that are held in memory and written together; what is written does not depend on it.
    Returns:
        rows a table, and the seconds taken.
    """
    started = time.monotonic()
    market = world.make(config)
    found = behaviour.intercepts(config, market)
    rows: dict[str, int] = {}
    with folders.new_folder(Path(out)) as folder, ExitStack() as stack:
        bar = stack.enter_context(tqdm(total=config.users, desc="simulate market", unit="user", unit_scale=True))
        with ExitStack() as files:
            writers: dict[str, pq.ParquetWriter] = {}
            for first in range(0, config.users, blocks * BLOCK):
                numbers = range(first // BLOCK, -(-min(first + blocks * BLOCK, config.users) // BLOCK))
                parts = [behaviour.tables(config, market, found, number) for number in numbers]
                for name in parts[0]:
                    table = pa.concat_tables([part[name] for part in parts])
                    if name not in writers:
                        path = folder / f"{name}.parquet"
                        writers[name] = files.enter_context(pq.ParquetWriter(path, table.schema, compression="zstd"))
                    writers[name].write_table(table)
                    rows[name] = rows.get(name, 0) + len(table)
                bar.update(sum(len(part["users"]) for part in parts))
        goods = market.items()
        pq.write_table(goods, folder / "items.parquet", compression="zstd")
        rows["items"] = len(goods)
        files_of = {name: folders.describe(folder / f"{name}.parquet", folder) for name in rows}
        described = {name: {"rows": rows[name], **file} for name, file in files_of.items()}
        settings = {"config": asdict(config), "intercepts": found._asdict(), "test_start": config.test_start}
        folders.write_manifest(folder, {"kind": KIND, **settings, "tables": described})
    return {"rows": rows, "seconds": round(time.monotonic() - started, 2)}
