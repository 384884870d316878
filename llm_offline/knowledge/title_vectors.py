"""The fast form of a history's text: one vector a title, encoded once, in place of its tokens."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from feature_store import folders
from feature_store.errors import DataError
from llm_offline.config import EmbedConfig, LlmConfig
from llm_offline.embedder import Embedder
from llm_offline.knowledge.titles import Titles, check_history, first_token
from llm_offline.language_model import LanguageModel

_FILE = "vectors.npy"


class TitleVectors:
    """The titles of all items as vectors that stand in a text where the titles' tokens would.

    A text's ids are rows of the table that `words` makes: the items by index, and behind them the model's first
    special token, where it has one.

    Args:
        vectors: (N, D) of the items from index 1; zeros for an item without a title, which is left out of a text.
        start: the model's first special token, or none.
        max_titles: of a history's text.
    """

    def __init__(self, vectors: np.ndarray, start: list[int], max_titles: int) -> None:
        self._vectors, self._start, self._max_titles = vectors, start, max_titles
        self._there = np.concatenate([[False], vectors.any(1)])

    def __len__(self) -> int:
        return len(self._vectors)

    def texts(self, history: np.ndarray) -> list[list[int]]:
        """The first special token, then the newest ``max_titles`` titles of each history, newest last.

        Args:
            history: (B, H) item indices, oldest first; 0 pads.
        Raises:
            ValueError: an index is of no item.
        """
        items = len(self._there)
        check_history(history, items)
        start = [items] if self._start else []
        return [start + row[self._there[row]][-self._max_titles :].tolist() for row in history]

    def words(self, model: PreTrainedModel) -> nn.Module:
        """The table that `texts` are ids of, ids (B, T) → (B, T, D), in ``model``'s dtype.

        The mean of all titles is taken from each vector: a language model's states share one large direction, which
        makes all titles look alike (SmolLM2 on Beauty: the mean cosine of two titles is 0.91). Then each gets the mean
        norm of ``model``'s token embeddings, the size of input that its first layer was trained on: what the layers and
        position embeddings add is small or large beside it, and states are of another size (SmolLM2: 41 against 3.2).
        """
        embeddings = model.get_input_embeddings().weight.detach()
        wide = torch.promote_types(embeddings.dtype, torch.float32)
        vectors, there = torch.from_numpy(self._vectors).to(wide), torch.from_numpy(self._there[1:])
        vectors = torch.where(there[:, None], vectors - vectors[there].mean(0), 0)
        norm = embeddings.to(wide).norm(dim=1).mean()
        scaled = nn.functional.normalize(vectors, dim=1) * norm
        first = embeddings[self._start].to(wide)
        table = torch.cat([scaled.new_zeros(1, scaled.shape[1]), scaled, first])
        return nn.Embedding.from_pretrained(table.to(embeddings.dtype), freeze=True)


def text_of(
    titles: Sequence[str], language_model: LanguageModel, config: LlmConfig, folder: Path
) -> Titles | TitleVectors:
    """What a history's text is made of, as ``config.text`` says.

    Args:
        titles: of the items by index, from 1. folder: where the vectors are kept.
    """
    if config.text == "tokens":
        return Titles(titles, language_model.tokenizer, config.max_tokens)
    vectors = cached_vectors(titles, language_model.model_id, config, folder)
    return TitleVectors(vectors, first_token(language_model.tokenizer), config.max_titles)


def cached_vectors(titles: Sequence[str], model_id: str, config: LlmConfig, folder: Path) -> np.ndarray:
    """Each title's mean state under the model without an adapter, (N, D) float32; zeros for an empty title.

    Encoded once, then found in ``folder``/titles-<key>, whole or not there. The key is of all that the vectors depend
    on: the model's id, the length that titles are cut at, and the titles.
    """
    key = hashlib.sha256(json.dumps([model_id, config.max_tokens, list(titles)]).encode()).hexdigest()[:16]
    out = folder / f"titles-{key}"
    try:
        folders.read_manifest(out)
        return np.load(out / _FILE)
    except DataError:
        vectors = _encode(titles, config)
    with folders.new_folder(out) as new:
        np.save(new / _FILE, vectors)
        files = [folders.describe(new / _FILE, new)]
        folders.write_manifest(new, {"kind": "title_vectors", "model": model_id, "titles": len(titles), "files": files})
    return vectors


def _encode(titles: Sequence[str], config: LlmConfig) -> np.ndarray:
    embedder = Embedder(
        EmbedConfig(
            model=config.model,
            layers=config.layers,
            dtype="bfloat16" if config.dtype == "bfloat16" else "float32",
            device=config.device,
            max_tokens=config.max_tokens,
            batch_tokens=config.batch_tokens,
            normalize=False,
        )
    )
    vectors = np.zeros((len(titles), embedder.width), np.float32)
    there = [place for place, title in enumerate(titles) if title]
    vectors[there] = embedder.encode([titles[place] for place in there], progress=True)
    return vectors
