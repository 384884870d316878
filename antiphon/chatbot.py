"""The stages of a run with a service chatbot (RGAlign-Rec), each after those it builds on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from antiphon import conversion, hits, work
from antiphon.config import Config
from antiphon.stage import Stage


def plan(config: Config) -> list[Stage]:
    """The stages of a run whose config gives `chat.path`; without rankers the data alone."""
    chat = config.chat
    settings = [chat.intents, chat.max_bad_share, chat.max_future_seconds, chat.test_days, chat.valid_days, chat.words]
    raw = [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in _log(config) if file.is_file()]
    products = ("intents", "sessions", "session_texts")
    stages = [Stage("ingest", ("ingest",), (), [settings, raw], products, ingest)]
    if not config.rankers:
        return stages
    made = [chat.candidates, chat.text_buckets, chat.shards]
    stages += [
        Stage("embed", ("embed",), ("ingest",), config.embed, ("knowledge/intent_text",), embed),
        Stage("queries", ("queries",), ("ingest",), config.align.reasoner, ("knowledge/queries",), queries),
        Stage("requests", ("requests",), ("ingest", "embed", "queries"), made, ("requests",), requests),
    ]
    stages += [conversion.train_stage(config, name) for name in config.rankers]
    trained = tuple(f"train-{name}" for name in config.rankers)
    oracle = ("oracle",) if _truth(config).is_file() else ()
    evaluated = tuple(f"evaluation/{name}" for name in (*config.rankers, *oracle))
    return [
        *stages,
        Stage("evaluate", ("evaluate",), ("requests", *trained), config.judge, evaluated, evaluate),
        Stage("hits", ("hits",), ("evaluate",), [config.hits, _transcripts(config)], ("evaluation/hits.json",),
              hits.run),
        conversion.export_stage(config, export),
    ]  # fmt: skip


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


def embed(config: Config) -> dict[str, Any]:
    """The vectors of the intents' texts."""
    from beam_jobs import intents

    return intents.run(config.folder / "intents", _intent_text(config), config.embed, config.beam)


def queries(config: Config) -> dict[str, Any]:
    """The vectors of what the sessions' users wonder about, by the reasoner as it was published."""
    from beam_jobs import queries

    out = config.folder / "knowledge" / "queries"
    return queries.of_sessions(config.folder / "session_texts", out, config.align.reasoner, config.beam)


def requests(config: Config) -> dict[str, Any]:
    """A request for each session: its features, its query's vector and its candidates."""
    made = write_requests(config, config.folder / "requests", config.folder / "knowledge" / "queries")
    return {split: told["examples"] for split, told in made["splits"].items()}


def write_requests(config: Config, out: Path, queries: Path, folds: int = 0, left_out: int = -1) -> dict[str, Any]:
    """Requests of the run's sessions with the vectors in ``queries``, see `feature_store.session_requests.write`."""
    from feature_store import session_requests

    folder = config.folder
    told = _intent_text(config)
    return session_requests.write(
        folder / "sessions", folder / "intents", out, config.chat, told, queries, folds, left_out
    )


def evaluate(config: Config) -> dict[str, Any]:
    """Every ranker on the test split; of a simulated log also the oracle."""
    summary = conversion.evaluate(config)
    if _truth(config).is_file():
        from trainer.requests import oracle as request_oracle

        out = config.folder / "evaluation" / "oracle"
        found = request_oracle.run(config.folder / "requests", _truth(config), out, config.judge)
        summary["oracle"] = {segment: told["gauc"]["mean"] for segment, told in found["test"].items()}
    return summary


def export(config: Config) -> dict[str, Any]:
    """The chosen ranker, with the intents' index."""
    from trainer.requests import tower_export

    return conversion.export_chosen(config, tower_export.run)


def _intent_text(config: Config) -> Path:
    return config.folder / "knowledge" / "intent_text"


def _transcripts(config: Config) -> list[Any]:
    return work.file_identity(Path(config.hits.transcripts)) if config.hits.transcripts else []


def _truth(config: Config) -> Path:
    """What the simulator knows; nothing but the oracle's row reads it."""
    return Path(config.chat.path) / "truth" / "truth.parquet"


def _log(config: Config) -> tuple[Path, Path]:
    """The sessions and their schema."""
    folder = Path(config.chat.path)
    return folder / "sessions.parquet", folder / "schema.json"
