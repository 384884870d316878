"""Who writes candidate queries (RGAlign-Rec §4.2, multi-LLM sample generation): one interface, four kinds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from feature_store.errors import DataError
from llm_offline import adapter as adapters
from llm_offline.alignment.endpoint import Endpoint
from llm_offline.alignment.reasoner import session_prompt
from llm_offline.alignment_config import ReasonerConfig, TeacherConfig
from llm_offline.chat import Prompt
from llm_offline.generator import Generator, generation_id


@dataclass(frozen=True)
class Session:
    session_id: str
    text: str  # the verbalised context


class Teacher(Protocol):
    """``source`` is all that a candidate depends on but the session: kept with it, and known before any model loads."""

    source: str
    samples: int

    def write(self, sessions: Sequence[Session]) -> list[list[str]]:
        """For each session as many texts as there are ``samples``, "" where there is none."""
        ...


class Writing:
    """A language model that is asked what the session's user wants to know: one here, or one behind an endpoint.

    The model is loaded when it is first asked.
    """

    def __init__(self, source: str, config: TeacherConfig, load: Callable[[], Generator | Endpoint]) -> None:
        """``load`` gives what answers prompts."""
        self.source = f"{source}/temperature={config.temperature:g}"
        self.samples = config.samples
        self._temperature, self._load, self._model = config.temperature, load, None

    def write(self, sessions: Sequence[Session]) -> list[list[str]]:
        """See `Teacher`.

        Raises:
            EndpointError, FileNotFoundError, ValueError: the model does not answer, or cannot be loaded.
        """
        self._model = self._model or self._load()
        asked = [self._prompt(session, draw) for session in sessions for draw in range(self.samples)]
        answers = self._model.answer(asked)
        return [answers[start : start + self.samples] for start in range(0, len(answers), self.samples)]

    def _prompt(self, session: Session, draw: int) -> Prompt:
        return replace(session_prompt(session.text), temperature=self._temperature, draw=draw)


class Recorded:
    """Queries that were written before: JSON lines with ``session_id`` and ``query``, several of a session in order."""

    def __init__(self, config: TeacherConfig) -> None:
        """
        Raises:
            DataError: there is no such file, or a line is not as it should be.
        """
        path = Path(config.file)
        if not path.is_file():
            raise DataError("there is no such file of recorded queries", file=path)
        self.samples = config.samples
        self._queries: dict[str, list[str]] = {}
        data = path.read_bytes()
        for number, line in enumerate(data.decode("utf-8").splitlines(), 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                session, query = row["session_id"], row["query"]
            except (ValueError, KeyError, TypeError):
                session = query = None
            if not isinstance(session, str) or not isinstance(query, str):
                rule = f"line {number} must be JSON with session_id and query, both text"
                raise DataError(rule, file=path, value=line)
            self._queries.setdefault(session, []).append(query)
        self.source = f"file={path.name}@{hashlib.sha256(data).hexdigest()[:12]}"

    def write(self, sessions: Sequence[Session]) -> list[list[str]]:
        """See `Teacher`; a session that is not in the file has none."""
        found = (self._queries.get(session.session_id, [])[: self.samples] for session in sessions)
        return [[*queries, *[""] * (self.samples - len(queries))] for queries in found]


def teacher(config: TeacherConfig, reasoner: ReasonerConfig, adapter: Path | None = None) -> Teacher:
    """The teacher a config describes; no model is loaded yet.

    Args:
        reasoner, adapter: of the kind ``self``.
    Raises:
        DataError, FileNotFoundError, ValueError: a file, a folder of a model, or the key of an endpoint is not there.
    """
    if config.kind == "file":
        return Recorded(config)
    if config.kind == "endpoint":
        endpoint = Endpoint(config)
        return Writing(f"{config.url}#{config.model}/max_tokens={config.max_new_tokens}", config, lambda: endpoint)
    generate = reasoner.writer() if config.kind == "self" else config.generate
    mine = adapter if config.kind == "self" else None
    source = f"{generation_id(generate)}/{adapters.version_of(mine)}"
    return Writing(source, config, lambda: Generator(generate, mine))


