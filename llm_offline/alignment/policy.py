"""The reasoner that is tuned: LoRA on a decoder, read at the end of its prompt and in what it writes after it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from llm_offline import pooling
from llm_offline.alignment.losses import log_probs
from llm_offline.alignment_config import ReasonerConfig, TuneConfig
from llm_offline.frozen_linear import freeze_linears
from llm_offline.knowledge.lora import Adapters, Pass
from llm_offline.language_model import load
from llm_offline.wide_norms import widen_norms


@dataclass(frozen=True)
class Text:
    """A prompt and the answer that follows it, as token ids; ``number`` tells it apart, for its noise."""

    number: int
    prompt: tuple[int, ...]
    answer: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)


@dataclass
class Read:
    """What the model made of b texts.

    Attributes:
        states: (b, D), each prompt's, pooled as the reasoner's config says: nothing of the answer is in them.
        log_probs: (b,) log π(answer | prompt), summed over its tokens.
    """

    states: Tensor
    log_probs: Tensor


class Policy:
    """A decoder with LoRA on its query and value projections."""

    def __init__(self, reasoner: ReasonerConfig, config: TuneConfig) -> None:
        """
        Raises:
            FileNotFoundError, ValueError: as `language_model.load`; the model has no projections for LoRA.
        """
        loaded = load(reasoner, writes=True)
        self.tokenizer, self.model_id, self.width = loaded.tokenizer, loaded.model_id, loaded.width
        self._reasoner, self._config, self.device = reasoner, config, reasoner.device
        model = loaded.model
        torch.manual_seed(config.seed)
        self._adapters = Adapters(model, config.rank, config.alpha, config.dropout)
        if reasoner.device == "cpu":
            freeze_linears(model)
            model.set_attn_implementation("eager")  # faster, there and back, than flash attention
        if loaded.dtype == torch.float64:
            widen_norms(model)
        model.to(reasoner.device).eval()  # dropout and noise are ours, and have seeds
        self._body, self._head = model.base_model, model.get_output_embeddings()
        self._words = model.get_input_embeddings()
        self._weights = {name: value for name, value in model.named_parameters() if value.requires_grad}

    def weights(self) -> dict[str, nn.Parameter]:
        """What learns, by name."""
        return self._weights

    def put(self, weights: Mapping[str, Tensor]) -> None:
        """Takes an adapter's weights.

        Raises:
            ValueError: they are of another rank or another model.
        """
        sizes = {name: tuple(value.shape) for name, value in self._weights.items()}
        theirs = {name: tuple(value.shape) for name, value in weights.items()}
        if sizes != theirs:
            odd = sorted(name for name in {*sizes, *theirs} if sizes.get(name) != theirs.get(name))[0]
            raise ValueError(f"adapter: is of another rank or model: {odd} is {theirs.get(odd)}, not {sizes.get(odd)}")
        with torch.no_grad():
            for name, value in self._weights.items():
                value.copy_(weights[name])

    def read(self, texts: Sequence[Text], seed: int | None = None) -> Read:
        """Reads b texts, padded on the right.

        Args:
            seed: of this update's noise and dropout; None is neither, as when the model is used.
        """
        longest = max(map(len, texts))
        tokens = torch.tensor([[*text.prompt, *text.answer, *[0] * (longest - len(text))] for text in texts])
        lengths = torch.tensor([len(text) for text in texts])
        mask = torch.arange(longest) < lengths.unsqueeze(1)  # (b, L)
        tokens = tokens.to(self.device)
        embedded = self._words(tokens)  # (b, L, D)
        if seed is not None and self._config.neftune:
            embedded = embedded + self._noise(texts, longest, seed).to(embedded)
        self._adapters.current = Pass(seed=None if seed is None else seed * 1_000_003 + texts[0].number)
        attended = None if mask.all() else mask.long().to(self.device)
        states = self._body(inputs_embeds=embedded, attention_mask=attended, use_cache=False).last_hidden_state
        return Read(self._pooled(states, texts), self._log_probs(states, tokens, texts))

    def _pooled(self, states: Tensor, texts: Sequence[Text]) -> Tensor:
        ends = torch.tensor([len(text.prompt) for text in texts])
        prompts = (torch.arange(states.shape[1]) < ends.unsqueeze(1)).long().to(self.device)
        pooled = {"last": pooling.last, "mean": pooling.mean}[self._reasoner.pooling](states, prompts)
        return pooled.to(torch.promote_types(pooled.dtype, torch.float32))  # cosines over τ need more than bfloat16

    def _log_probs(self, states: Tensor, tokens: Tensor, texts: Sequence[Text]) -> Tensor:
        """The head is asked at the answers' positions alone: each is told by the state before it."""
        rows = [n for n, text in enumerate(texts) for _ in text.answer]
        places = [len(text.prompt) + n for text in texts for n in range(len(text.answer))]
        row, place = torch.tensor(rows, device=self.device), torch.tensor(places, device=self.device)
        logits = self._head(states[row, place - 1])
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        each = log_probs(logits, tokens[row, place])
        return each.new_zeros(len(texts)).index_add(0, row, each)

    def _noise(self, texts: Sequence[Text], longest: int, seed: int) -> Tensor:
        """NEFTune's (Jain et al. 2023): uniform in ±α / √(L D), L a text's own length; a function of seed and text."""
        noise = torch.zeros(len(texts), longest, self.width)
        for row, text in enumerate(texts):
            told = hashlib.blake2b(f"{seed}/{text.number}".encode(), digest_size=8).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(told, "big") >> 1)
            size = self._config.neftune / (len(text) * self.width) ** 0.5
            noise[row, : len(text)] = (2 * torch.rand(len(text), self.width, generator=generator) - 1) * size
        return noise
