"""The chatbot in service: its endpoint and page, beside the ranker that was exported or aligned last."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from antiphon import align, chat_page, work
from antiphon.config import Config
from feature_store import folders
from feature_store.checks import require
from feature_store.end_signals import until_told

if TYPE_CHECKING:
    from serving.chat_api import ChatApi
    from serving.client import Client
    from serving.exported_ranker import ExportedRanker

log = logging.getLogger(__name__)

OF_SERVICE = "service"
"""As `chatbot.reasoner`: that of the section `service`."""
_FIRST_SECONDS = 60.0
"""The ranker's first answer may take: its graph is laid out."""


def run(config: Config) -> int:
    """Serves until stopped. Prints "chatbot ready" with its address once it answers.

    Raises:
        ValueError: the run has no sessions or no exported ranker, or a setting does not fit them.
        RuntimeError: the ranker cannot be served, or does not take the sessions' features.
    """
    require(bool(config.chat.path), "chat.path", "must be given: the run has no chatbot", config.chat.path)
    reasoner_url(config)
    base = versions(config)

    from serving import exported_ranker
    from serving.client import Client
    from serving.config import ServeConfig
    from serving.http_server import HttpServer

    own, ranker = config.chatbot, exported_ranker.newest(base)
    with (
        until_told() as told,
        _ranker(config, base) as address,
        Client(address, ranker.model) as client,
        answering(config, ranker, client) as api,
    ):
        limits = ServeConfig(
            host=own.host, rest_port=own.port, rest_threads=own.threads, max_requests=own.max_requests,
            max_request_bytes=own.max_request_bytes, drain_seconds=config.serve.drain_seconds,
        )  # fmt: skip
        http = HttpServer(api, limits)
        http.start()
        asks = f"{reasoner_url(config)} model={_reasoner_model(config, ranker)}" if own.reasoner else "nobody"
        print(f"chatbot ready {own.host}:{http.port} ranker={ranker.model}/{ranker.version}@{address} reasoner={asks}",
              flush=True)  # fmt: skip
        told.wait()
        http.stop()
    return 0


@contextlib.contextmanager
def answering(config: Config, ranker: ExportedRanker, client: Client) -> Iterator[ChatApi]:
    """The endpoint over a client of the ranker.

    Raises:
        ValueError, RuntimeError: as `run`.
    """
    from feature_store import intents, request_inputs, session_texts
    from feature_store.latest_sessions import LatestSessions
    from serving.chat_api import ChatApi, ChatParts, entry_points
    from serving.chat_ranking import ChatRanking
    from serving.exported_ranker import WITH, WITHOUT
    from serving.reasoner_client import ReasonerClient, ReasonerClientConfig

    folder, own = config.folder, config.chatbot
    known, base = intents.read_manifest(folder / "intents")["version"], intents.read(folder / "intents")
    require(ranker.intents == known, "the ranker's base of intents", f"must be the run's ({known})", ranker.intents)
    sessions = LatestSessions(folder / "sessions")
    entries = entry_points(sessions.schema, own.entry_point)
    row, _ = sessions.of(sessions.users[0])
    reasoner = None
    if own.reasoner and ranker.query:
        reasoner = ReasonerClient(ReasonerClientConfig(
            reasoner_url(config), _reasoner_model(config, ranker), ranker.width, own.max_deadline_ms, own.api_key,
            own.threads,
        ))  # fmt: skip
    signature = WITHOUT if ranker.query else WITH
    _ask_first(client, request_inputs.inputs(row, ranker.features), signature)
    parts = ChatParts(
        ranker,
        ChatRanking(client, reasoner, own.reserve_ms, ranker.query),
        reasoner,
        sessions,
        session_texts.verbaliser(folder / "sessions", base, config.chat.words),
        dict(zip(base["intent_id"].to_pylist(), base["title"].to_pylist(), strict=True)),
        entries,
        lambda: _answers(client),
    )
    try:
        page = chat_page.response(config.name, ranker, sessions.users, entries, own.top)
        yield ChatApi(parts, own, {"/": page})
    finally:
        if reasoner is not None:
            reasoner.close()


def versions(config: Config) -> Path:
    """The folder of the ranker's versions: of the newest round of `antiphon align` that has rankers, which is exported
    here where it is not yet, else of what `antiphon export` chose.

    Raises:
        ValueError: there is neither.
    """
    rounds = [align.folder(config, number) / "rankers" for number in range(1, config.align.rounds + 1)]
    whole = [rankers for rankers in rounds if (rankers / folders.MANIFEST).is_file()]
    if not whole:
        return config.folder / "export" / work.chosen(config)["variant"]
    newest = whole[-1]
    out = newest.parent / "export" / folders.version(newest) / config.chat.reward
    if not any(out.glob("[0-9]*")):
        from trainer.requests import tower_export

        tower_export.run(newest / "all" / "requests", newest / "all" / "model", out, config.export)
    return out


@contextlib.contextmanager
def _ranker(config: Config, base: Path) -> Iterator[str]:
    """The address of a server of the ranker: that of the config, else one in this process."""
    if config.chatbot.ranker:
        yield config.chatbot.ranker
        return

    from serving.server import Server
    from serving.status import StatusError

    # Its newest version as long as this process lives: the features that are sent are those of that one.
    settings = replace(config.serve, poll_seconds=0)
    try:
        server = Server({base.name: base}, settings)
        server.start()
    except StatusError as error:
        raise RuntimeError(f"Failed to start server. Error: {error}") from error
    try:
        yield f"{_host(settings.host)}:{server.grpc_port}"
    finally:
        server.stop()


def _ask_first(client: Client, inputs: dict, signature: str) -> None:
    """Asks the ranker once, so that what does not fit is told at the start, and the first user does not wait."""
    from serving.errors import DeadlineExceeded, ServingError, Unavailable

    try:
        client.predict(inputs, signature, timeout=_FIRST_SECONDS)
    except (DeadlineExceeded, Unavailable) as error:
        log.warning("the ranker does not answer yet: %s", error)
    except ServingError as error:
        raise RuntimeError(f"the ranker does not take this run's sessions: {error}") from error


def _answers(client: Client) -> bool:
    from serving.errors import ServingError

    try:
        return any(each["state"] == "AVAILABLE" for each in client.status(timeout=1.0))
    except ServingError:
        return False


def reasoner_url(config: Config) -> str:
    """Of the reasoner, up to and with /v1; "" where nobody is asked.

    Raises:
        ValueError: it is that of the section `service`, whose port is any free one.
    """
    own, service = config.chatbot.reasoner, config.service
    if own != OF_SERVICE:
        return own
    require(service.port > 0, "chatbot.reasoner", "must be a URL where service.port is 0, any free one", own)
    return f"http://{_host(service.host)}:{service.port}/v1"


def _host(name: str) -> str:
    """As it stands in an address."""
    return f"[{name}]" if ":" in name else name


def _reasoner_model(config: Config, ranker: ExportedRanker) -> str:
    return config.chatbot.reasoner_model or ranker.adapter_version
