"""A run of a chatbot as `antiphon serve chatbot` finds it: intents, checked sessions, an exported QE-Rec.

The ranker is trained for a moment on queries drawn at random: the way through is what is tested, not the ranking.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import chat_session
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks._chat_run import random_queries
from feature_store import session_requests, sessions
from feature_store.chat_config import ChatConfig, IntentsConfig
from feature_store.datasets import intents as readers
from feature_store.session_schema import BEHAVIOUR, INTENTS, PROFILE, SessionFeature, SessionSchema

REPOSITORY = Path(__file__).resolve().parents[2]
WIDTH = 16
"""Of the queries' vectors: that of `chat_session.language_model`."""
SCHEMA = SessionSchema(
    (
        SessionFeature("region", "Region", PROFILE, "id", "region"),
        SessionFeature("days", "Days since the order", kind="number", unit="days", log=True),
        SessionFeature("entry_point", "Entry Point", kind="id", dictionary="entry_point"),
        SessionFeature("last_search", "Last Search", kind="text"),
        SessionFeature("pages", "Recent Pages", BEHAVIOUR, "texts", group="pages", length=3),
        SessionFeature("minutes", "Minutes", BEHAVIOUR, "numbers", unit="min ago", group="pages", length=3),
        SessionFeature("clicked_intents", "Asked Before", BEHAVIOUR, "ids", INTENTS, length=3),
    ),
    {"region": {1: "Malaysia", 2: "Brazil"}, "entry_point": {1: "Home Page", 2: "Order Page", 3: "<b>Refunds</b>"}},
)
USERS, SESSIONS = 7, 240


def data(folder: Path) -> ChatConfig:
    """Intents and sessions as the stage `ingest` leaves them; returns the settings."""
    log = folder / "log"
    log.mkdir(parents=True)
    told = [{"intent_id": intent, "title": title, "description": about, "category": "order"}
            for intent, (title, about) in chat_session.INTENTS.items()]  # fmt: skip
    (log / "intents.jsonl").write_text("".join(json.dumps(each) + "\n" for each in told))
    (log / "schema.json").write_text(json.dumps(SCHEMA.to_json()))
    table = pa.Table.from_pylist([_session(number) for number in range(SESSIONS)], SCHEMA.arrow())
    pq.write_table(table, log / "sessions.parquet")
    config = ChatConfig(str(log), IntentsConfig("file", str(log / "intents.jsonl")))
    readers.run(config.intents, folder / "intents")
    sessions.run(log / "sessions.parquet", log / "schema.json", folder / "intents", folder / "sessions", config)
    return config


def write(folder: Path) -> Path:
    """The whole run under ``folder``, and the config file that serves it, which is returned."""
    import chat_model

    from trainer import train
    from trainer.config import ExportConfig
    from trainer.requests import tower_export

    run = folder / "chat"
    chat = data(run)
    requests = run / "requests"
    session_requests.write(run / "sessions", run / "intents", requests, chat, queries=random_queries(run, WIDTH))
    quick = replace(chat_model.CONFIG, epochs=1, validate_every=1, checkpoint_every=1, steps_per_schedule=1)
    train.run(requests, None, run / "models" / "qe_rec", quick)
    made = tower_export.run(requests, run / "models" / "qe_rec", run / "export" / "qe_rec", ExportConfig(top_k=4))
    (run / "export" / "chosen.json").write_text(json.dumps({"variant": "qe_rec", **made}))
    content = {
        "name": "chat", "runs": str(folder), "serve": {"grpc_port": 0, "rest_port": 0},
        "chat": {"path": chat.path, "intents": {"reader": "file", "path": chat.intents.path}},
        # Two seconds for the reasoner, and all that a busy machine may want for the ranker.
        "chatbot": {"port": 0, "deadline_ms": 22_000, "reserve_ms": 20_000, "max_deadline_ms": 90_000},
    }  # fmt: skip
    config = folder / "chat.yaml"
    config.write_text(json.dumps(content))
    return config


@contextmanager
def serving(config: Path, **chatbot: object) -> Iterator[tuple[subprocess.Popen, str, str]]:
    """The process of `antiphon serve chatbot`, its URL and its ranker's address, for as long as the block lasts."""
    command = [sys.executable, "-m", "antiphon.cli", "serve", "chatbot", "-c", str(config)]
    command += [part for name, value in chatbot.items() for part in ("--set", f"chatbot.{name}={value}")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        assert line.startswith("chatbot ready "), f"it said {line!r} and ended with {process.wait(60)}"
        _, _, address, ranker, _, _ = line.split()
        yield process, f"http://{address}", ranker.partition("@")[2]
    finally:
        process.kill()
        process.wait()


def _session(number: int) -> dict:
    """Number ``number`` of the log."""
    draw = random.Random(number)
    wanted = draw.choice(list(chat_session.INTENTS))
    length = draw.randrange(4)
    when = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=3 * number)
    return {
        "session_id": f"s{number:03d}", "user_id": f"u{number % USERS}", "session_time": when,
        "shown": list(chat_session.INTENTS), "clicked": [wanted], "intents": [wanted],
        "region": draw.choice((1, 2, None)), "days": float(draw.randrange(9)), "entry_point": draw.choice((1, 2, 3)),
        "last_search": f"about {wanted}", "pages": ["Cart", "Orders", "Help"][:length],
        "minutes": [9.0, 5.0, 2.0][:length], "clicked_intents": [draw.choice(list(chat_session.INTENTS))],
    }  # fmt: skip

