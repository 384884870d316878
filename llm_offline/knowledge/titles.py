"""A user's history as the tokens of its items' titles."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from feature_store.table_folder import read_table
from llm_offline.prompts import Template

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Titles:
    """The titles of all items. Each is tokenised once, when it is first asked for.

    Args:
        titles: of the items by index; index 0 is padding. An empty title is left out of a text.
        max_tokens: of a history's text.
    """

    def __init__(self, titles: Sequence[str], tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> None:
        self._titles, self._tokenizer, self._max_tokens = ["", *titles], tokenizer, max_tokens
        self._tokens: dict[int, list[int]] = {0: []}
        self.start = first_token(tokenizer)
        after = tokenizer.sep_token_id
        self._end = [after] if after is not None else tokenizer("\n", add_special_tokens=False)["input_ids"]

    def __len__(self) -> int:
        return len(self._titles) - 1

    def texts(self, history: np.ndarray) -> list[list[int]]:
        """Token ids of each history's titles, newest last, after the model's first special token.

        Whole titles, the newest that fit in ``max_tokens``; of a newest title that alone is longer, its start.

        Args:
            history: (B, H) item indices, oldest first; 0 pads.
        Raises:
            ValueError: an index is of no item.
        """
        check_history(history, len(self._titles))
        self._tokenize(np.unique(history).tolist())
        return [self.start + self._text(row) for row in history.tolist()]

    def words(self, model: PreTrainedModel) -> nn.Module:
        """What `texts` are ids of: ``model``'s own token embeddings, ids (B, T) → (B, T, D)."""
        return model.get_input_embeddings()

    def _text(self, items: Iterable[int]) -> list[int]:
        tokens: list[int] = []
        for item in reversed(list(items)):
            title = self._tokens[item]
            if tokens and len(title) + len(tokens) > self._max_tokens:
                break
            tokens = title[: self._max_tokens] + tokens
        return tokens

    def _tokenize(self, items: list[int]) -> None:
        new = [item for item in items if item not in self._tokens]
        there = [item for item in new if self._titles[item]]
        self._tokens.update((item, []) for item in new)
        if there:
            texts = [self._titles[item] for item in there]
            for item, ids in zip(there, self._tokenizer(texts, add_special_tokens=False)["input_ids"], strict=True):
                self._tokens[item] = ids + self._end


def first_token(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The special token that a text begins with; none for many models."""
    around = tokenizer("")["input_ids"]  # the special tokens a text gets
    return around[:1] if around and around[0] in {tokenizer.bos_token_id, tokenizer.cls_token_id} else []


def check_history(history: np.ndarray, items: int) -> None:
    """
    Raises:
        ValueError: an index is not at least 0 and below ``items``.
    """
    if history.size and not 0 <= history.min() <= history.max() < items:
        odd = history.min() if history.min() < 0 else history.max()
        raise ValueError(f"history: an index must be at least 0 and below {items}, received {odd}")


def read_titles(tables: Path, vocabulary: Path) -> list[str]:
    """The titles of a vocabulary's items, in its order; "" for an item without one.

    Args:
        tables: a folder of tables. vocabulary: a file with one item id a line, as JSON.
    """
    template = Template("{title}", ["title"])
    rows = read_table(tables, "items", ["item_id", "title"]).to_pylist()
    title = {row["item_id"]: template.render(row) for row in rows}
    with vocabulary.open(encoding="utf-8") as lines:
        return [title.get(json.loads(line), "") for line in lines]
