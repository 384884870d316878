"""From a user's prompts and history to knowledge, and the gradients back: CoCo §4.2 beside the language model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from llm_offline.batching import length_batches
from llm_offline.config import LlmConfig
from llm_offline.frozen_linear import freeze_linears
from llm_offline.knowledge.decoupling import Decoupling, Mean
from llm_offline.knowledge.lora import Adapters, Pass
from llm_offline.knowledge.title_vectors import TitleVectors
from llm_offline.knowledge.titles import Titles
from llm_offline.language_model import LanguageModel
from llm_offline.wide_norms import widen_norms

SAMPLE, TITLES = 64, 8
"""Texts, and titles of each, drawn from all items, whose states' values have a mean of 0 at the beginning."""


@dataclass(frozen=True)
class Question:
    """What the trainer sends of a batch.

    Attributes:
        prompts: (B, m, D), and their mask (B, m), True at prompts, at least one a row.
        history: (B, H) item indices, oldest first; 0 pads.
        seed: of the LoRA dropout; None is without.
    """

    prompts: np.ndarray
    mask: np.ndarray
    history: np.ndarray
    seed: int | None


@dataclass
class Answer:
    """The knowledge (n, m, d) of some ``rows`` of a batch, with all that its gradient needs."""

    rows: np.ndarray
    tokens: int  # padded
    prompts: Tensor
    knowledge: Tensor
    run: Pass


class Reasoner(nn.Module):
    """A language model with LoRA, and the decoupling attention on top.

    The input is h_f = [h_prompt, h_text] (Eq. 3) with the real tokens of a row first and its padding last, so a row's
    knowledge does not depend on the rows beside it but for rounding. h_mix is every unpadded position.
    """

    def __init__(self, language_model: LanguageModel, titles: Titles | TitleVectors, config: LlmConfig) -> None:
        """
        Args:
            titles: the items', as ``config.text`` says.
        Raises:
            ValueError: the model has no projections for LoRA, or takes fewer positions than a text may have.
        """
        super().__init__()
        self._config, self._titles = config, titles
        self.width = language_model.width
        self.model_id = language_model.model_id + ("" if config.text == "tokens" else f"/{config.text}")
        self.model = language_model.model
        self._limit = "max_tokens" if config.text == "tokens" else "max_titles"
        self._positions = getattr(self.model.config, "max_position_embeddings", None)
        if self._positions is not None and getattr(config, self._limit) > self._positions:
            rule = f"must be at most {self._positions}, the positions {config.model!r} has"
            raise ValueError(f"llm.{self._limit} {rule}, received {getattr(config, self._limit)}")
        if getattr(self.model, "pooler", None) is not None:
            self.model.pooler = None  # BERT's pooler is used by nobody here
        torch.manual_seed(config.seed)
        self.words = titles.words(self.model)
        self._adapters = Adapters(self.model, config.rank, config.alpha, config.dropout)
        if config.device == "cpu":
            freeze_linears(self.model)
        kinds = {"attention": Decoupling, "mean": Mean}
        self.decoupling = kinds[config.decoupling](self.width, config.d, config.heads)
        self.wire = torch.promote_types(language_model.dtype, torch.float32)  # of prompts and knowledge
        if self.wire == torch.float64:
            widen_norms(self.model)
        self.decoupling.to(self.wire)
        self.to(config.device).eval()
        self.decoupling.centre(self._states(SAMPLE))

    @property
    def scale(self) -> float:
        """Root mean square of the model's input embeddings (the first ten thousand of them)."""
        some = self.model.get_input_embeddings().weight[:10_000].detach()
        return float(some.double().square().mean().sqrt())

    def trainable(self) -> dict[str, nn.Parameter]:
        """LoRA's weights and the decoupling attention's, by name."""
        return {name: value for name, value in self.named_parameters() if value.requires_grad}

    def check(self, question: Question) -> None:
        """Raises ValueError where the shapes of a question do not fit."""
        rows, m = question.mask.shape
        wanted = (rows, m, self.width)
        if question.prompts.shape != wanted or question.history.shape[:1] != (rows,):
            raise ValueError(
                f"prompts: must be of shape {wanted} with a mask of {(rows, m)} and a history of {rows} rows, "
                f"received {question.prompts.shape} and {question.history.shape}"
            )

    def forward(self, prompts: Tensor, mask: Tensor, tokens: Tensor, text_mask: Tensor) -> Tensor:
        """
        Args:
            prompts: (B, m, D), mask (B, m). tokens: (B, T) of the text, ids of ``words``; text_mask (B, T).
        Returns:
            (B, m, d).
        """
        embedded = self.words(tokens)  # (B, T, D)
        tokens_in = torch.cat([prompts.to(embedded.dtype), embedded], dim=1)
        there = torch.cat([mask, text_mask], dim=1)
        order = torch.argsort(~there, dim=1, stable=True)[:, : int(there.sum(1).max())]  # real ones first
        there = there.gather(1, order)  # (B, L)
        tokens_in = tokens_in.gather(1, order.unsqueeze(-1).expand(-1, -1, self.width))
        return self.decoupling(prompts, mask, self._mixed(tokens_in, there), there)

    def _mixed(self, tokens_in: Tensor, there: Tensor) -> Tensor:
        """h_mix of h_f (B, L, D), whose real positions are True in ``there`` (B, L)."""
        attended = None if there.all() else there.long()
        mixed = self.model(inputs_embeds=tokens_in, attention_mask=attended, use_cache=False).last_hidden_state
        return mixed.to(self.wire)

    def _states(self, rows: int) -> Tensor:
        """h_mix (n, D) of ``rows`` texts of drawn titles, without prompts."""
        drawn = 1 + np.random.default_rng(self._config.seed).permutation(len(self._titles))[: rows * TITLES]
        texts = [text for text in self._titles.texts(np.resize(drawn, (rows, TITLES))) if text] if drawn.size else []
        self._adapters.current, found = Pass(seed=None), [self._tensor(np.zeros((0, self.width))).to(self.wire)]
        for part in length_batches(np.fromiter(map(len, texts), np.int64, len(texts)), self._config.batch_tokens):
            tokens, there = map(self._tensor, _padded([texts[row] for row in part]))
            with torch.no_grad():
                found.append(self._mixed(self.words(tokens), there)[there])
        return torch.cat(found)

    def answer(self, question: Question, leaves: Mapping[str, Tensor]) -> Iterator[Answer]:
        """The batch's knowledge, some rows at a time; every row comes once.

        The same question and leaves give the same answers, dropout included.

        Args:
            leaves: the trainable weights to answer with.
        Raises:
            ValueError: a row has no prompt, an item is unknown, or a row is longer than the model's positions.
        """
        if not question.mask.any(1).all():
            raise ValueError(f"mask: row {int((~question.mask.any(1)).argmax())} has no prompt")
        texts = self._titles.texts(question.history)
        lengths = question.mask.sum(1) + np.fromiter(map(len, texts), np.int64, len(texts))
        if self._positions is not None and lengths.max() > self._positions:
            rule = f"prompts and text must fill at most {self._positions} positions"
            raise ValueError(f"llm.{self._limit}: {rule}, a row has {lengths.max()}")
        for number, rows in enumerate(length_batches(lengths, self._config.batch_tokens)):
            prompts = self._tensor(question.prompts[rows]).to(self.wire).requires_grad_()
            tokens, text_mask = _padded([texts[row] for row in rows])
            drops = self._config.dropout and question.seed is not None
            run = Pass(seed=question.seed + number if drops else None)
            self._adapters.current = run
            inputs = (prompts, self._tensor(question.mask[rows]), self._tensor(tokens), self._tensor(text_mask))
            knowledge = functional_call(self, dict(leaves), inputs)
            yield Answer(rows, len(rows) * int(lengths[rows].max()), prompts, knowledge, run)

    def gradients(
        self, answer: Answer, upstream: np.ndarray, learns: np.ndarray, leaves: Sequence[Tensor]
    ) -> tuple[np.ndarray, list[Tensor]]:
        """Takes an answer's gradients.

        Args:
            upstream: (B, m, d), of the whole batch. learns: (B,) bool, the rows that LoRA learns from; prompts and
                decoupling attention get theirs from every row.
        Returns:
            of the rows' prompts (n, m, D), and of each leaf.
        """
        answer.run.learns = self._tensor(learns[answer.rows])
        told = self._tensor(upstream[answer.rows]).to(self.wire)
        mine, *others = torch.autograd.grad(answer.knowledge, [answer.prompts, *leaves], told)
        return mine.cpu().numpy(), others

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self._config.device)


def _padded(texts: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Token ids padded on the right (B, T), and their mask."""
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    mask = np.arange(lengths.max(initial=0)) < lengths[:, None]
    tokens = np.zeros(mask.shape, np.int64)
    tokens[mask] = [token for text in texts for token in text]
    return tokens, mask
