"""Texts to vectors, at the speed the processor allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm
from transformers import MODEL_FOR_MASKED_LM_MAPPING

from llm_offline import pooling
from llm_offline.batching import length_batches
from llm_offline.config import EncoderConfig
from llm_offline.identity import embedding_id
from llm_offline.int8 import quantize_linears
from llm_offline.language_model import LanguageModel, load
from llm_offline.packed_linear import pack_linears
from llm_offline.shared_beginnings import Beginning


class Embedder:
    """A language model with a pooling on top.

    Texts are tokenised together, each distinct text is computed once, and texts of like length share a
    batch (`length_batches`). The vectors do not depend on which texts are given together, but for rounding.

    ``model_id`` is the config's `embedding_id`: all that a vector depends on but the text and the adapter, which
    ``adapter_version`` names.
    """

    def __init__(
        self, config: EncoderConfig, adapter: Path | None = None, weights: str = "float32",
        loaded: LanguageModel | None = None,
    ) -> None:  # fmt: skip
        """Loads the model.

        Args:
            adapter: a folder of one. weights: float32 | int8, on a processor (`int8`), whose vectors are not the same:
                they are made of float32 ones, whatever the config's dtype.
            loaded: the model as `language_model.load` gives it with `as_loaded` of the config, and adapter, where it is
                loaded already.
        Raises:
            FileNotFoundError, ValueError: as `language_model.load`; or pooling is "eos" and the tokenizer has
                no end-of-sequence token; or ``dimensions`` is more than the model's width; or no layer of the model
                can have 8-bit weights.
        """
        self.config = config
        self._language_model = load(as_loaded(config, weights), adapter=adapter) if loaded is None else loaded
        self.tokenizer = self._language_model.tokenizer
        self.tokenizer.truncation_side = "right" if config.keep == "start" else "left"
        if config.pooling == "eos" and self.tokenizer.eos_token_id is None:
            raise ValueError(f"{config.section}.pooling: {config.model!r} has no end-of-sequence token for 'eos'")
        model = self._language_model.model
        if getattr(model, "pooler", None) is not None:
            model.pooler = None  # BERT's pooler is computed by the model and used by nobody here
        if weights == "int8":
            if not quantize_linears(model):
                rule = "must leave float32 linear layers to be made 8-bit"
                raise ValueError(f"{config.section}.model: with weights int8 {rule}, received {config.model!r} "
                                 f"in {str(self._language_model.dtype).removeprefix('torch.')}")  # fmt: skip
        elif config.device == "cpu" and config.dtype != "float64":
            pack_linears(model)
        model.to(config.device)
        self.width = config.dimensions or self._language_model.width
        if self.width > self._language_model.width:
            rule = f"must be at most {self._language_model.width}, the width of {config.model!r}"
            raise ValueError(f"{config.section}.dimensions {rule}, received {config.dimensions}")
        known = self._language_model.model_id if weights != "int8" else ""
        self.model_id = embedding_id(config, known)
        self.adapter_version = self._language_model.adapter_version
        self._beginning: Beginning | None = None

    @torch.inference_mode()
    def remember(self, tokens: Sequence[int]) -> None:
        """Computes what many texts begin with once, for `encode_tokens`; of an encoder, whose states depend on what
        follows too, nothing."""
        model = self._language_model.model
        reads_on = type(model.config) in MODEL_FOR_MASKED_LM_MAPPING
        self._beginning = None if reads_on or not len(tokens) else Beginning(model, tokens)

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text with the model's special tokens, cut to ``max_tokens`` at the end that ``keep`` tells.

        Raises:
            ValueError: a text has no token at all (an empty text, for a model without special tokens).
        """
        if not texts:
            return []
        # The tokenizer cuts a long text before its special tokens are added.
        found = self.tokenizer(list(texts), truncation=True, max_length=self._room, return_attention_mask=False)
        ids = [self.cut(row) for row in found["input_ids"]]
        for position, row in enumerate(ids):
            if not row:
                raise ValueError(f"text {position} has no tokens: {texts[position]!r}")
        return ids

    @property
    def _room(self) -> int:
        return self.config.max_tokens - (self.config.pooling == "eos")

    def cut(self, ids: list[int]) -> list[int]:
        """A text's token ids at most ``max_tokens`` long, from the end that ``keep`` tells, with the end-of-sequence
        token where the pooling looks for it."""
        kept = ids[: self._room] if self.config.keep == "start" else ids[-self._room :]
        return [*kept, self.tokenizer.eos_token_id] if self.config.pooling == "eos" else kept

    def encode(self, texts: Sequence[str], progress: bool = False) -> np.ndarray:
        """One vector a text.

        Args:
            texts: n texts.
            progress: show a bar that counts texts.
        Returns:
            (n, width) float32, in the order of ``texts``.
        Raises:
            ValueError: as `tokenize`.
        """
        distinct = {text: position for position, text in enumerate(dict.fromkeys(texts))}
        ids = self.tokenize(list(distinct))
        vectors = self.encode_tokens(ids, progress)
        return vectors[[distinct[text] for text in texts]]

    def encode_tokens(self, ids: Sequence[list[int]], progress: bool = False) -> np.ndarray:
        """One vector a text that is tokenised already, each of at least one token: (n, width) float32."""
        vectors, known = np.empty((len(ids), self.width), np.float32), self._beginning
        begun = np.array([known is not None and known.starts(row) for row in ids], bool)
        with (
            torch.inference_mode(),
            tqdm(total=len(ids), desc="embed", unit="text", disable=not progress) as bar,
        ):
            for beginning in dict.fromkeys((None, known)):
                places = np.flatnonzero(begun if beginning else ~begun)
                own = [ids[place][len(beginning.tokens) if beginning else 0 :] for place in places]
                for rows in length_batches(np.fromiter(map(len, own), np.int64, len(own)), self.config.batch_tokens):
                    found = self._embed([own[row] for row in rows], beginning)
                    vectors[places[rows]] = found.float().cpu().numpy()
                    bar.update(len(rows))
        return vectors

    def _embed(self, ids: list[list[int]], beginning: Beginning | None) -> Tensor:
        """Token ids of B texts, after their ``beginning`` if there is one → (B, width)."""
        token_ids, mask = _padded(ids)  # (B, L), (B, L) or None
        device = self.config.device
        token_ids, mask = token_ids.to(device), None if mask is None else mask.to(device)
        if beginning is None:
            read = {"attention_mask": mask, "use_cache": False}
        else:
            before = token_ids.new_tensor(beginning.tokens).expand(len(ids), -1)  # (B, P)
            there = torch.ones_like(token_ids) if mask is None else mask
            mask = torch.cat([torch.ones_like(before), there], dim=1)
            read = {"attention_mask": mask, "past_key_values": beginning.cache(len(ids)), "use_cache": True}
        states = self._language_model.model(input_ids=token_ids, **read).last_hidden_state  # (B, L, D)
        if beginning is not None:
            token_ids = torch.cat([before, token_ids], dim=1)
            states = torch.cat([beginning.states.expand(len(ids), -1, -1), states], dim=1)
        kind = self.config.pooling
        if kind == "eos":
            vectors = pooling.eos(states, mask, token_ids, self.tokenizer.eos_token_id)
        else:
            vectors = {"mean": pooling.mean, "last": pooling.last}[kind](states, mask)
        vectors = vectors[:, : self.width]
        return torch.nn.functional.normalize(vectors, dim=1) if self.config.normalize else vectors


def as_loaded(config: EncoderConfig, weights: str) -> EncoderConfig:
    """The config by which the model of an embedder is loaded whose linear layers have ``weights``."""
    return replace(config, dtype="float32") if weights == "int8" else config


def _padded(ids: list[list[int]]) -> tuple[Tensor, Tensor | None]:
    """Token ids padded on the right, and their mask; no mask where all texts are of one length."""
    longest = max(map(len, ids))
    if all(len(row) == longest for row in ids):
        return torch.tensor(ids), None
    token_ids = torch.tensor([row + [0] * (longest - len(row)) for row in ids])
    lengths = torch.tensor([len(row) for row in ids])
    return token_ids, (torch.arange(longest) < lengths.unsqueeze(1)).long()
