"""From a session's verbalised context to the vector of what its user wonders about (RGAlign-Rec §3.2, Eqs. 2-3)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from feature_store import reasoner_prompt
from llm_offline.alignment_config import ReasonerConfig
from llm_offline.chat import Prompt, prompt_ids
from llm_offline.embedder import Embedder
from llm_offline.generator import Generator, generation_id
from llm_offline.identity import embedding_id


class Reasoner:
    """e = H[-1], the last state of the prompt, before anything is written; or the pooling that the config names.

    With ``vector: query`` it writes a query instead, and a sentence encoder embeds that.

    ``model_id`` is the config's `reasoner_id`; a vector depends on it, ``adapter_version`` and the text.
    """

    def __init__(self, config: ReasonerConfig, adapter: Path | None = None) -> None:
        """
        Raises:
            FileNotFoundError, ValueError: as `language_model.load` and `Embedder`.
        """
        self.config = config
        writes = config.vector == "query"
        self._writer = Generator(config.writer(), adapter) if writes else None
        self._embedder = Embedder(config.encoder) if writes else Embedder(config, adapter)
        if not writes:
            self._embedder.remember(beginning(self._embedder.tokenizer))
        self.adapter_version = (self._writer or self._embedder).adapter_version
        self.model_id, self.width = reasoner_id(config), self._embedder.width

    def of_sessions(self, contexts: Sequence[str]) -> tuple[np.ndarray, list[str]]:
        """(n, D) vectors of n sessions' contexts, and the queries that were written for them, "" where none was."""
        distinct = list(dict.fromkeys(contexts))
        prompts = [session_prompt(context) for context in distinct]
        if self._writer is None:
            queries, vectors = [""] * len(distinct), self.of_prompts(prompts)
        else:
            queries = self._writer.answer(prompts)
            vectors = self._embedder.encode(queries)
        places = {context: place for place, context in enumerate(distinct)}
        rows = [places[context] for context in contexts]
        return vectors[rows], [queries[row] for row in rows]

    def of_queries(self, queries: Sequence[str]) -> np.ndarray:
        """(n, D) vectors of n written queries, in the space of `of_sessions`."""
        distinct = {query: place for place, query in enumerate(dict.fromkeys(queries))}
        if self._writer is None:
            vectors = self.of_prompts([query_prompt(query) for query in distinct])
        else:
            vectors = self._embedder.encode(list(distinct))
        return vectors[[distinct[query] for query in queries]]

    def of_prompts(self, prompts: Sequence[Prompt]) -> np.ndarray:
        """(n, D) pooled states of n prompts, of which the end is kept where one is too long."""
        return self._embedder.encode_tokens([self._embedder.cut(ids) for ids in map(self._ids, prompts)])

    def _ids(self, prompt: Prompt) -> list[int]:
        return prompt_ids(self._embedder.tokenizer, prompt)


def session_prompt(context: str) -> Prompt:
    """What is asked about a session."""
    return Prompt(reasoner_prompt.about_session(context), reasoner_prompt.SYSTEM)


def beginning(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens that the prompts of all sessions begin with."""
    return os.path.commonprefix([prompt_ids(tokenizer, session_prompt(context)) for context in ("User", "1")])


def query_prompt(query: str) -> Prompt:
    """What is asked about a written query, to place it among the sessions."""
    return Prompt(reasoner_prompt.about_query(query), reasoner_prompt.SYSTEM)


def reasoner_id(config: ReasonerConfig) -> str:
    """All that a vector depends on but the text and the adapter; without loading a model."""
    wording = f"prompt={reasoner_prompt.prompt_id()}"
    if config.vector == "states":
        return f"{embedding_id(config)}/{wording}"
    return f"{generation_id(config.writer())}/{wording}/{embedding_id(config.encoder)}"
