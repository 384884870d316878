"""A chatbot in service: a run, its reasoner and its endpoint, real processes all."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import chat_run
import pytest
import reasoner_process


class ChatService(NamedTuple):
    """The process of the reasoner and its URL, the endpoint's URL, and the address of its ranker."""

    reasoner: subprocess.Popen
    reasoner_url: str
    url: str
    ranker: str


@pytest.fixture(scope="session")
def chat_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The config file of a run that can be served."""
    return chat_run.write(tmp_path_factory.mktemp("chat_run"))


@pytest.fixture(scope="session")
def chat_service(chat_config: Path, chat_llm: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChatService]:
    """Both processes; the endpoint's must end in good order."""
    folder = tmp_path_factory.mktemp("reasoner")
    with (
        reasoner_process.running(chat_llm, folder, deadline_ms=60_000) as (reasoner, asked, _),
        chat_run.serving(chat_config, reasoner=asked) as (process, url, ranker),
    ):
        yield ChatService(reasoner, asked, url, ranker)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
