"""Prompts to answers, greedily or drawn, many at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from llm_offline.batching import length_batches
from llm_offline.chat import Prompt, prompt_ids
from llm_offline.config import GenerateConfig
from llm_offline.identity import model_id
from llm_offline.language_model import LanguageModel, load
from llm_offline.packed_linear import pack_linears
from llm_offline.shared_beginnings import Beginnings, kin, shared_tokens


class _Beginning(LogitsProcessor):
    """Lets the first new token, at position ``at``, be one of ``allowed`` only."""

    def __init__(self, allowed: list[int], at: int) -> None:
        self._allowed, self._at = allowed, at

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if input_ids.shape[1] > self._at:
            return scores
        kept = torch.full_like(scores, -torch.inf)
        kept[:, self._allowed] = scores[:, self._allowed]
        return kept


class _Drawn(LogitsProcessor):
    """Adds a Gumbel variate to each logit over the temperature: its largest is then a draw from their softmax.

    The variates of a row are a function of its seed and of how many tokens it has, so an answer does not depend on the
    rows beside it.
    """

    def __init__(self, seeds: Sequence[int], temperature: float, at: int) -> None:
        self._seeds, self._temperature, self._at = seeds, temperature, at

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        step = input_ids.shape[1] - self._at
        noise = torch.empty_like(scores)
        for row, seed in enumerate(self._seeds):
            generator = torch.Generator().manual_seed((seed + step) % 2**63)
            exponential = torch.empty(scores.shape[1]).exponential_(generator=generator)
            noise[row] = -exponential.log()
        return scores / self._temperature + noise


class Generator:
    """A language model that answers prompts by greedy decoding, or draws where a prompt has a temperature.

    Equal prompts are answered once, and prompts of like length share a batch (`length_batches`). What all of a batch
    begin with is computed once, and so is what some of them begin with besides, such as the facts that several
    questions are about (`shared_beginnings`). An answer does not depend on the prompts beside it, but for rounding,
    which can turn a near tie between two tokens.

    ``model_id`` is all that an answer depends on but the prompt and the adapter, which ``adapter_version`` names.
    """

    penalty = 1.3  # on tokens that were there before, of careful prompts (Keskar et al. 2019, section 4.1)

    def __init__(
        self, config: GenerateConfig, adapter: Path | None = None, loaded: LanguageModel | None = None
    ) -> None:
        """Loads the model.

        Args:
            loaded: the model with its head, as `language_model.load` gives it with config and adapter, where it is
                loaded already.
        Raises:
            FileNotFoundError, ValueError: as `language_model.load`.
        """
        self.config = config
        loaded = load(config, writes=True, adapter=adapter) if loaded is None else loaded
        self._model, self._tokenizer = loaded.model, loaded.tokenizer
        pack_linears(self._model)
        ends = {self._tokenizer.eos_token_id, *_listed(self._model.generation_config.eos_token_id)} - {None}
        self._ends = sorted(ends)
        self.model_id, self.adapter_version = generation_id(config), loaded.adapter_version

    def answer(self, prompts: Sequence[Prompt]) -> list[str]:
        """One answer a prompt, in their order, without special tokens and white space around it."""
        answers: dict[Prompt, str] = {}
        for manner in dict.fromkeys(map(_manner, prompts)):
            distinct = list(dict.fromkeys(prompt for prompt in prompts if _manner(prompt) == manner))
            ids = [self._tokenize(prompt) for prompt in distinct]
            for rows in self._batches(ids):
                written = self._write([ids[row] for row in rows], [distinct[row] for row in rows])
                texts = self._tokenizer.batch_decode(written, skip_special_tokens=True)
                answers.update((distinct[row], text.strip()) for row, text in zip(rows, texts, strict=True))
        return [answers[prompt] for prompt in prompts]

    def _tokenize(self, prompt: Prompt) -> list[int]:
        """With the model's chat format where it has one; of a prompt that is too long, the end."""
        return prompt_ids(self._tokenizer, prompt)[-self.config.max_tokens :]

    def _batches(self, ids: list[list[int]]) -> Iterator[list[int]]:
        """The prompts that are answered together, at most ``batch_tokens`` padded tokens of them. Those that begin
        alike are in one batch as far as that reaches, and all of a batch have as many kin."""
        families = []
        for family in kin(ids, shared_tokens(ids)):
            size = max(1, self.config.batch_tokens // self._padded(ids, family))
            families += [family[start : start + size] for start in range(0, len(family), size)]
        for size in sorted(set(map(len, families))):
            alike = [family for family in families if len(family) == size]
            lengths = size * np.array([self._padded(ids, family) for family in alike], np.int64)
            for some in length_batches(lengths, self.config.batch_tokens):
                yield [row for number in some for row in alike[number]]

    def _padded(self, ids: list[list[int]], family: list[int]) -> int:
        """Tokens of the longest of a family with its answer."""
        return max(len(ids[row]) for row in family) + self.config.max_new_tokens

    @torch.inference_mode()
    def _write(self, ids: list[list[int]], prompts: list[Prompt]) -> Tensor:
        """Token ids of B prompts of one manner -> (B, at most max_new_tokens) new ones."""
        begins, careful, temperature = _manner(prompts[0])
        pad = self._ends[0] if self._ends else 0
        beginnings = Beginnings.of(ids)
        rows, mask = beginnings.laid_out(ids, pad)
        longest = rows.shape[1]
        chosen = [_Beginning(self._first_tokens(begins), longest)] if begins else []
        chosen += [_Drawn([_seed(prompt) for prompt in prompts], temperature, longest)] if temperature else []
        written = self._model.generate(
            input_ids=rows,
            attention_mask=mask,
            past_key_values=beginnings.computed(self._model, rows, mask),
            max_new_tokens=self.config.max_new_tokens,
            do_sample=False,
            logits_processor=LogitsProcessorList(chosen),
            repetition_penalty=self.penalty if careful else 1.0,
            eos_token_id=self._ends or None,
            pad_token_id=pad,
        )
        return written[:, longest:]

    def _first_tokens(self, words: tuple[str, ...]) -> list[int]:
        return [self._tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in words]


def generation_id(config: GenerateConfig) -> str:
    """All that an answer depends on but the prompt; without loading the model."""
    return f"{model_id(config)}/greedy/max_tokens={config.max_tokens}/max_new_tokens={config.max_new_tokens}"


def _manner(prompt: Prompt) -> tuple[tuple[str, ...], bool, float]:
    """What prompts must have in common to be answered together."""
    return prompt.begins, prompt.careful, prompt.temperature


def _seed(prompt: Prompt) -> int:
    """Of a prompt's draw; seeds of two draws are so far apart that no step of one is a step of the other."""
    told = "\0".join((str(prompt.draw), prompt.system, prompt.text))
    return int.from_bytes(hashlib.blake2b(told.encode(), digest_size=8).digest(), "big")


def _listed(value: int | list[int] | None) -> list[int | None]:
    return value if isinstance(value, list) else [value]
