"""The stages of a run with a service chatbot (RGAlign-Rec), each after those it builds on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from antiphon.config import Config
from antiphon.stage import Stage


def plan(config: Config) -> list[Stage]:
    """The stages of a run whose config gives `chat.path`."""
    chat = config.chat
    settings = [chat.intents, chat.max_bad_share, chat.max_future_seconds, chat.test_days, chat.valid_days, chat.words]
    raw = [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in _log(config) if file.is_file()]
    products = ("intents", "sessions", "session_texts")
    return [Stage("ingest", ("ingest",), (), [settings, raw], products, ingest)]


def ingest(config: Config) -> dict[str, Any]:
    """The knowledge base, the checked sessions, and the sessions in words."""
    from feature_store import alignment_tables, session_texts, sessions
    from feature_store import intents as base
    from feature_store.datasets import intents

    folder, chat = config.folder, config.chat
    known = intents.run(chat.intents, folder / "intents")
    found = sessions.run(*_log(config), folder / "intents", folder / "sessions", chat)
    words = session_texts.table(folder / "sessions", folder / "intents", chat.words)
    tables = {"sessions": words, "intents": base.read(folder / "intents")}
    alignment_tables.write(folder / "session_texts", "session_texts", tables, {"intents_version": known["version"]})
    return {"intents": known, "sessions": found, "characters": session_texts.statistics(words)}


def _log(config: Config) -> tuple[Path, Path]:
    """The sessions and their schema."""
    folder = Path(config.chat.path)
    return folder / "sessions.parquet", folder / "schema.json"
