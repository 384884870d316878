"""Ask a server for recommendations: histories from the online feature store, answers with titles."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from antiphon import records, serve, work
from antiphon.config import Config
from antiphon.text import cut
from feature_store import knowledge_view
from feature_store.build import read_features
from feature_store.online import OnlineStore, open_online_store
from feature_store.table_folder import read_table

ITEMS = 10  # recommended items an answer shows
USERS = 6  # users in the sample
_FEW = 5  # a user of the sample has at least so many events

Answer = dict[str, Any]  # user_id, events, history and items: [{item_id, title, score}]


def ask(config: Config, users: Sequence[str], history: Sequence[str] | None, server: str | None) -> int:
    """Print recommendations for `users`, or for one `history` of item ids; with neither, for a few users.

    Raises:
        ValueError: a user without events, or an item that the model does not know.
    """
    with _online(config) as store:
        if history is not None:
            questions = [_of_history(config, store, history)]
        else:
            questions = _of_users(config, store, users or _sample_users(config, store))
        with contextlib.ExitStack() as stack:
            if server is None:
                server = stack.enter_context(serve.started(config)).grpc
            answers = _answer(config, store, questions, server)
    for answer in answers:
        print(show(answer))
    return 0


def sample(config: Config) -> dict[str, Any]:
    """Ask for a sample of users over gRPC and over REST; print the answers and leave `recommendations.json`.

    Raises:
        RuntimeError: the two protocols gave different items.
    """
    chosen = work.chosen(config)
    with _online(config) as store, serve.started(config) as server:
        questions = _of_users(config, store, _sample_users(config, store))
        answers = _answer(config, store, questions, server.grpc)
        over_rest = _answer(config, store, questions, server.rest, rest=True)
    if [_ids(answer["items"]) for answer in answers] != [_ids(answer["items"]) for answer in over_rest]:
        raise RuntimeError(f"gRPC and REST of {chosen['variant']} gave different items")
    for answer in answers:
        print(show(answer))
    print(f"version {chosen['version']} of {chosen['variant']}: gRPC and REST gave the same items")
    saved = {"variant": chosen["variant"], "version": chosen["version"], "users": answers}
    records.write_text(config.folder / "recommendations.json", records.to_json(saved))
    return {"users": len(answers)}


def show(answer: Answer) -> str:
    """One answer as text: what the user saw last, newest first, beside what is recommended."""
    width = max(24, (min(shutil.get_terminal_size().columns, 120) - 12) // 2)
    seen = [cut(item["title"], width) for item in reversed(answer["history"])][:ITEMS]
    found = [f"{number:>2}. {cut(item['title'], width)}" for number, item in enumerate(answer["items"], 1)]
    lines = [f"{_who(answer)} ({answer['events']} events)", f"    {'last seen':<{width}}  recommended"]
    for row in range(max(len(seen), len(found))):
        left = seen[row] if row < len(seen) else ""
        right = found[row] if row < len(found) else ""
        lines.append(f"    {left:<{width}}  {right}".rstrip())
    return "\n".join([*lines, ""])


@contextlib.contextmanager
def _online(config: Config) -> Iterator[OnlineStore]:
    features = config.folder / "features"
    _, schema = read_features(features)
    with open_online_store(features / "feature_repo", schema) as store:
        yield store


def _sample_users(config: Config, store: OnlineStore) -> list[str]:
    """The same few users every time, spread over all of them by a hash of their id."""
    ids = read_table(config.folder / "tables", "users", ["user_id"])["user_id"].to_pylist()
    ids = sorted(ids, key=lambda user: hashlib.sha256(user.encode()).digest())[: 50 * USERS]
    rows = store.read("user_history", ids)
    return [user for user, row in zip(ids, rows, strict=True) if row["event_count"] >= _FEW][:USERS]


def _of_users(config: Config, store: OnlineStore, users: Sequence[str]) -> list[Answer]:
    questions = []
    for user, row in zip(users, store.read("user_history", users), strict=True):
        if row["event_count"] == 0:
            raise ValueError(
                f"--user: must be a user with events in {config.folder}/tables, received {user!r}"
            )
        history = [{"item_id": item} for item in row["history"]]
        questions.append({"user_id": user, "events": row["event_count"], "history": history})
    return questions


def _of_history(config: Config, store: OnlineStore, history: Sequence[str]) -> Answer:
    vocabulary = config.folder / "examples" / "vocabulary" / "item.txt"
    with vocabulary.open(encoding="utf-8") as lines:
        known = {json.loads(line) for line in lines}
    for item in history:
        if item not in known:
            raise ValueError(f"--history: must hold item ids of {vocabulary}, received {item!r}")
    return {"user_id": "", "events": len(history), "history": [{"item_id": item} for item in history]}


def _answer(
    config: Config, store: OnlineStore, questions: Sequence[Answer], address: str, rest: bool = False
) -> list[Answer]:
    from feature_store.request_context import RequestContext
    from serving.client import Client

    histories, chosen = [_ids(question["history"]) for question in questions], work.chosen(config)
    users = [question["user_id"] for question in questions]
    about = {"knowledge": _known(config, chosen, users), "context": RequestContext(tuple(users))}
    with Client(address, chosen["variant"], rest=rest) as client:
        found = client.recommend(histories, min(ITEMS, config.export.top_k), **about)
    return [
        question
        | {
            "history": _titled(store, question["history"]),
            "items": _titled(store, [{"item_id": item, "score": score} for item, score in items]),
        }
        for question, items in zip(questions, found, strict=True)
    ]


def _known(
    config: Config, chosen: dict[str, Any], users: Sequence[str]
) -> tuple[np.ndarray, np.ndarray] | None:
    """What the feature store knows of users, for a version with CoCo; else None.

    It must be of the model and adapter that made what the version was trained with: of a user of whom there is no such
    knowledge nothing is known.
    """
    manifest = json.loads((Path(chosen["path"]) / "assets.extra" / "manifest.json").read_text(encoding="utf-8"))
    folder = work.view_folder(config, chosen["variant"])
    if not manifest.get("knowledge") or folder is None:
        return None
    with knowledge_view.opened(folder) as store:
        found = store.read(users, **manifest["knowledge"])
    return found.vectors, found.mask


def _titled(store: OnlineStore, items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    profiles = store.read("item_profile", _ids(items))
    return [
        item | {"title": profile["title"] or f"item {item['item_id']}"}
        for item, profile in zip(items, profiles, strict=True)
    ]


def _ids(items: Sequence[dict[str, Any]]) -> list[str]:
    return [item["item_id"] for item in items]


def _who(answer: Answer) -> str:
    return f"User {answer['user_id']}" if answer["user_id"] else "This history"
