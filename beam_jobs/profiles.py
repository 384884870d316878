"""A semantic profile of every user, as text and as a vector (ChoirRec section 4.2.1).

Users come in pieces of the table, each with what they bought and searched for before training ends. Equal texts are
computed once, and what a stopped run has left is taken up (`text_vectors`).
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from beam_jobs import text_vectors, user_pieces
from beam_jobs.options import BeamConfig
from beam_jobs.text_embedding import TextEmbedding
from beam_jobs.text_vectors import TextJob
from beam_jobs.user_pieces import Piece
from beam_jobs.written_profile import ANSWERS, WrittenProfile
from feature_store import folders
from feature_store.checks import require
from feature_store.schema import EVENT_TIME
from feature_store.table_folder import read_manifest
from feature_store.training_window import training_end
from llm_offline.profile_config import ProfileConfig
from llm_offline.profile_vectors import ProfileEmbedder
from llm_offline.profile_writer import profile_id
from llm_offline.profiles import verbalised

JOB = "profiles"
KIND = "profiles"
USERS, DEAD_LETTER = "users", "dead_letter"
NOTHING_KNOWN = "nothing is known of the user"
MALFORMED = "no well-formed profile was written; what is known stands in"
_WRITTEN_TEXTS = 128  # of one batch where a model writes: a run that is stopped loses one
_WRITTEN_BUCKET = 64  # characters


def run(tables: Path, out: Path, profiles: ProfileConfig, beam: BeamConfig) -> dict[str, Any]:
    """Writes ``out/users/*.parquet``: user_id, text (what is known), content_hash, model_id, adapter_version, with
    ``mode: generate`` `ANSWERS`, and vector; sorted by user_id. A user of whom nothing is known has no vector.

    ``out/dead_letter/users.jsonl`` has those, and those whose profile was malformed twice, with the reason.

    Returns:
        users, texts computed and reused, dead letters by reason, with ``generate`` how many profiles came about how;
        width, model id and seconds.
    Raises:
        DataError: the tables are not whole, or nothing is known of any user.
        ValueError: an attribute is no column of the users; the model has fewer layers or dimensions.
        FileNotFoundError: a model's files are not there.
    """
    started, tables, out = time.monotonic(), Path(tables), Path(out)
    manifest = read_manifest(tables)
    columns = pq.read_schema(tables / "users.parquet").names[1:]
    unknown = [name for name in profiles.attributes if name not in columns]
    require(not unknown, f"{profiles.section}.attributes", f"must be columns of the users {columns}", unknown)
    end = training_end(manifest, profiles.end)
    generates = profiles.mode == "generate"
    sizes = {"batch_texts": _WRITTEN_TEXTS, "bucket_characters": _WRITTEN_BUCKET} if generates else {}
    job = TextJob(
        JOB, KIND, out / USERS, profile_id(profiles), ("user_id",), answers=ANSWERS if generates else (), blank=True,
        told=True, **sizes,
    )  # fmt: skip
    render = partial(user_texts, tables=tables, profiles=profiles, end=end)
    handler = WrittenProfile(profiles, JOB) if generates else TextEmbedding(profiles, JOB, ProfileEmbedder)
    described = {"profiles": asdict(profiles), "training_end": end, "tables": _hashes(manifest)}
    ids = pq.read_table(tables / "users.parquet", columns=["user_id"])["user_id"]
    made = text_vectors.run(job, user_pieces.pieces(ids), render, handler, described, beam)
    reasons, outcomes = _write_dead_letters(out, made)
    summary = {
        "users": made["rows"],
        "computed": made["computed"],
        "reused": made["texts"] - made["computed"],
        "dead_letters": dict(reasons),
        "mode": profiles.mode,
        "width": made["width"],
        "model_id": job.model_id,
    }
    summary |= {"outcome": dict(sorted(outcomes.items()))} if generates else {}
    return summary | {"seconds": round(time.monotonic() - started, 2)}


def _hashes(manifest: dict[str, Any]) -> dict[str, str]:
    """What a profile is made from, by content."""
    tables = manifest["tables"]
    return {name: tables[name]["sha256"] for name in ("users", "items", "events", "searches") if name in tables}


def user_texts(piece: Piece, tables: Path, profiles: ProfileConfig, end: int) -> pa.Table:
    """user_id and text of a piece's users."""
    users = user_pieces.rows_of(tables / "users.parquet", piece)
    columns = profiles.attributes or users.schema.names[1:]
    events = user_pieces.rows_of(tables / "events.parquet", piece, ["user_id", "item_id", EVENT_TIME, "event_type"])
    if profiles.purchase:
        events = events.filter(ds.field("event_type") == profiles.purchase)
    categories = user_pieces.categories(tables)
    bought = ((user, (moment, categories.get(item, ()))) for user, item, moment in _rows(events, "item_id"))
    purchases = _by_user(bought)
    searches: dict[str, list[Any]] = {}
    if (tables / "searches.parquet").is_file():
        found = user_pieces.rows_of(tables / "searches.parquet", piece, ["user_id", "query", EVENT_TIME])
        searches = _by_user((user, (moment, query)) for user, query, moment in _rows(found, "query"))
    texts = []
    for row in users.to_pylist():
        user = row["user_id"]
        known = {name: row[name] for name in columns}
        texts.append(verbalised(known, purchases.get(user, ()), searches.get(user, ()), end, profiles))
    return pa.table({"user_id": users["user_id"], "text": pa.array(texts, pa.string())})


def _rows(table: pa.Table, column: str) -> Iterable[tuple[str, str, int]]:
    """user_id, a column, and the time in microseconds."""
    times = table[EVENT_TIME].cast(pa.int64()).to_pylist()
    return zip(table["user_id"].to_pylist(), table[column].to_pylist(), times, strict=True)


def _by_user(rows: Iterable[tuple[str, Any]]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for user, row in rows:
        found.setdefault(user, []).append(row)
    return found


def _write_dead_letters(out: Path, made: dict[str, Any]) -> tuple[Counter[str], Counter[str]]:
    """Writes the dead letters' folder; returns how many there are by reason, and how profiles came about."""
    reasons: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    with folders.new_folder(out / DEAD_LETTER) as folder:
        path = folder / "users.jsonl"
        with path.open("w", encoding="utf-8") as file:
            for part in made["files"]:
                rows = pq.read_table(out / USERS / part["file"])
                written = "outcome" in rows.schema.names
                kept = rows.select(["user_id", "text", *(("outcome", "rejected") if written else ())])
                for row in kept.to_pylist():
                    outcome = row.get("outcome") or ""
                    outcomes.update([outcome] if outcome else [])
                    reason = NOTHING_KNOWN if not row["text"] else MALFORMED if outcome == "fallback" else ""
                    if reason:
                        reasons[reason] += 1
                        told = {"user_id": row["user_id"], "reason": reason, "record": row.get("rejected") or ""}
                        file.write(json.dumps(told, ensure_ascii=False) + "\n")
        file_of = folders.describe(path, folder)
        folders.write_manifest(folder, {"kind": "dead_letters", "reasons": dict(reasons), "file": file_of})
    return reasons, outcomes
