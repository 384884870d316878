"""Examples: a split's label rows, their features as they were served or as of just before, in TFRecord shards."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from tqdm import tqdm

from feature_store import folders
from feature_store.asof import asof_join
from feature_store.build import read_features
from feature_store.config import ExampleConfig, FeatureConfig
from feature_store.database import connect
from feature_store.errors import DataError
from feature_store.schema import Field, Schema, fields_from_json
from feature_store.served_features import ServedFeatures
from feature_store.splits import SPLITS, activity, label_rows
from feature_store.table_folder import read_manifest as read_tables
from feature_store.table_folder import read_table
from feature_store.tfrecord import decode_examples, encode_examples, read_records, write_records

_PASS_ROWS = 1 << 18  # label rows joined at a time: bounds memory


def write(
    tables: Path, features: Path, out: Path, examples: ExampleConfig, feature_config: FeatureConfig
) -> dict[str, Any]:
    """Writes a folder of examples whole and returns its manifest.

    Raises:
        DataError: tables or features are not whole, the features are of other tables or of another history
            length, the split leaves no training row, or the served log is not there or damaged.
    """
    table_manifest = read_tables(tables)
    feature_manifest, schema = read_features(features, hashes=True)
    if feature_manifest["events"] != table_manifest["tables"]["events"]["sha256"]:
        raise DataError("the features were built from other tables; build them again", file=features)
    if schema.history_length != feature_config.history_length:
        raise DataError(
            f"the features were built with history_length={schema.history_length}; build them again",
            file=features,
            field="history_length",
            value=feature_config.history_length,
        )
    labels, boundaries = label_rows(tables / "events.parquet", examples, schema.history_length)
    counts = {split: int(pc.sum(pc.equal(labels["split"], split)).as_py() or 0) for split in SPLITS}
    if not counts["train"]:
        raise DataError(
            "the split leaves no training row: no user has two events to train on",
            file=tables,
            field="split",
            value=examples.split,
        )
    admitted, left_out = _admitted(tables, examples)
    with folders.new_folder(Path(out)) as folder:
        collected = folder / ".served.parquet"
        served = ServedFeatures.collect(Path(examples.served_log), schema, collected) if examples.served_log else None
        splits = {}
        with tqdm(total=len(labels), desc="examples", unit="row", delay=2) as bar:
            for split in SPLITS:
                rows = labels.filter(pc.equal(labels["split"], split))
                shards = examples.shards if split == "train" else 1
                told: Counter[str] = Counter()
                join = _Join(split, tables, features, schema, served, told)
                written = list(_write_split(folder, split, rows, shards, join, bar))
                splits[split] = {"examples": counts[split], "targets": told.pop("targets"), "shards": written}
                if served:
                    splits[split]["log"] = {name: told[name] for name in ("served", "empty", "not past")}
        collected.unlink(missing_ok=True)
        manifest = {
            "kind": "examples",
            "splits": splits,
            "history_length": schema.history_length,
            "split": examples.split,
            "windows": examples.windows,
            "window": table_manifest["window"],
            "boundaries": boundaries,
            "vocabulary": {"item": {**_write_vocabulary(folder, admitted), "left_out": left_out}},
            "items": _write_items(folder, tables, admitted),
            "features": [asdict(field) for field in schema.example("train", bool(served))],
            "held_out_features": [asdict(field) for field in schema.example("test", bool(served))],
            "events": table_manifest["tables"]["events"]["sha256"],
        }
        if served:
            manifest["served_log"] = {"folder": examples.served_log, "rows": served.rows}
        folders.write_manifest(folder, manifest)
    return manifest


def read_manifest(examples: Path, hashes: bool = False) -> dict[str, Any]:
    """The manifest of a folder of examples; every shard is there and has its size (and hash, where asked).

    Raises:
        DataError: the folder is not whole, or not one of examples.
    """
    return folders.read_manifest_of("examples", examples, "examples", hashes)


def example_spec(manifest: Mapping[str, Any], split: str = "train") -> dict[str, Field]:
    """What each feature of a split's rows is: name -> Field (dtype, shape, default, vocabulary)."""
    kept = manifest["features" if split == "train" else "held_out_features"]
    return {field.name: field for field in fields_from_json(kept)}


def read_rows(examples: Path, split: str, columns: Sequence[str], shard: int | None = None) -> pa.Table:
    """Columns of a split's examples, or of one of its shards, in the order of the records.

    Raises:
        DataError: the folder is not whole, or examples have no such column.
    """
    manifest = read_manifest(examples)
    spec = example_spec(manifest, split)
    if unknown := [name for name in columns if name not in spec]:
        raise DataError(f"examples have the features {list(spec)}", file=examples, field=unknown[0])
    fields = [spec[name] for name in columns]
    shards = manifest["splits"][split]["shards"]
    chosen = shards if shard is None else [shards[shard]]
    records = [record for part in chosen for record in read_records(Path(examples) / part["file"])]
    return decode_examples(records, fields)


@dataclass(frozen=True)
class _Join:
    """What gives a split's label rows their features.

    Attributes:
        served: the rows of the served log; None where there is none.
        told: counts "targets", and what `ServedFeatures.put` counts.
    """

    split: str
    tables: Path
    features: Path
    schema: Schema
    served: ServedFeatures | None
    told: Counter[str]

    @property
    def fields(self) -> tuple[Field, ...]:
        return self.schema.example(self.split, self.served is not None)

    def __call__(self, labels: pa.Table) -> pa.Table:
        """The label rows in their order, with every feature of their examples."""
        rows = labels.append_column("row", pa.array(np.arange(len(labels))))
        for name in ("user_history", "user_profile"):
            view = self.schema.view(name)
            if not view.features:
                continue
            batches = list(asof_join(rows, self.features / f"{name}.parquet", view))
            rows = pa.Table.from_batches(batches) if batches else _no_rows(rows, view.features)
        if self.split != "train":
            rows = _with_seen(rows, self.tables)
        rows = rows.sort_by("row").combine_chunks()
        if self.served is not None:
            rows, counts = self.served.put(rows, self.tables / "events.parquet")
            self.told.update(counts)
        targets = pc.sum(pc.list_value_length(rows["history"])) if self.split == "train" else pa.scalar(len(rows))
        self.told["targets"] += targets.as_py() or 0
        label_time = rows["label_time"].cast(pa.int64())
        return rows.set_column(rows.schema.get_field_index("label_time"), "label_time", label_time)


def _write_split(
    folder: Path, split: str, labels: pa.Table, shards: int, join: _Join, bar: tqdm
) -> Iterator[dict[str, Any]]:
    """Cuts the label rows, which come in hash order, into even shards; none is empty unless the split is."""
    shards = max(1, min(shards, len(labels)))
    ends = np.linspace(0, len(labels), shards + 1).astype(int)
    per_pass = max(1, _PASS_ROWS * shards // max(1, len(labels)))
    (folder / split).mkdir()
    for first in range(0, shards, per_pass):
        last = min(first + per_pass, shards)
        part = labels.slice(ends[first], ends[last] - ends[first])
        records = encode_examples(join(part), join.fields)
        for shard in range(first, last):
            path = folder / split / f"{shard:05d}-of-{shards:05d}.tfrecord"
            mine = records[ends[shard] - ends[first] : ends[shard + 1] - ends[first]]
            write_records(path, mine)
            bar.update(len(mine))
            yield {"examples": len(mine), **folders.describe(path, folder)}


def _no_rows(rows: pa.Table, fields: tuple[Field, ...]) -> pa.Table:
    for field in fields:
        rows = rows.append_column(field.name, pa.array([], field.arrow_type))
    return rows


def _with_seen(rows: pa.Table, tables: Path) -> pa.Table:
    """Adds ``seen``: the distinct items of the user's events before the label, sorted."""
    connection = connect()
    connection.register("rows", rows)
    query = """
        WITH seen AS (
            SELECT row, list_sort(list(DISTINCT item_id)) AS seen
            FROM rows JOIN read_parquet(?) events USING (user_id)
            WHERE event_time < label_time GROUP BY row)
        SELECT rows.*, coalesce(seen, CAST([] AS VARCHAR[])) AS seen FROM rows LEFT JOIN seen USING (row)
    """
    return connection.sql(query, params=[str(tables / "events.parquet")]).to_arrow_table()


def _admitted(tables: Path, examples: ExampleConfig) -> tuple[list[str], dict[str, int]]:
    """The items of the vocabulary, sorted, and how many are too rare for it or unseen for too long.

    It is a function of the tables alone: an item that comes back is admitted again.
    """
    items = sorted(read_table(tables, "items", ["item_id"])["item_id"].to_pylist())
    if not (examples.min_count or examples.evict_days):
        return items, {"rare": 0, "unseen": 0}
    seen = activity(tables / "events.parquet", examples).to_pydict()
    counts, days = (dict(zip(seen["item_id"], seen[name], strict=True)) for name in ("count", "days"))
    common = [item for item in items if counts.get(item, 0) >= examples.min_count]
    kept = [item for item in common if not examples.evict_days or days.get(item, 0.0) <= examples.evict_days]
    if not kept:
        rule = f"admits none of {len(items)} items with evict_days {examples.evict_days:g}"
        raise DataError(rule, file=tables, field="min_count", value=examples.min_count)
    return kept, {"rare": len(items) - len(common), "unseen": len(common) - len(kept)}


def _write_vocabulary(folder: Path, ids: list[str]) -> dict[str, Any]:
    path = folder / "vocabulary" / "item.txt"
    path.parent.mkdir()
    path.write_text("".join(json.dumps(item) + "\n" for item in ids), encoding="utf-8")
    return {"size": len(ids), **folders.describe(path, folder)}


def _write_items(folder: Path, tables: Path, ids: list[str]) -> dict[str, Any]:
    """What is known of the items but their titles, in the order of the vocabulary."""
    items = read_table(tables, "items")
    items = items.select([name for name in items.column_names if name != "title"])
    items = items.filter(pc.is_in(items["item_id"], pa.array(ids))).sort_by("item_id")
    path = folder / "items.parquet"
    pq.write_table(items, path, compression="zstd", store_schema=False)
    return {"rows": len(items), **folders.describe(path, folder)}
