"""What an update of the reasoner learns from: RG-SFT, RG-CL with its causal part, RG-DPO (RGAlign-Rec §4.2).

An update's batch goes through the model in parts that fit into memory, and its gradient is that of the whole batch: the
contrastive loss of a part has all targets of the batch as negatives, since these are vectors that are known beforehand.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from llm_offline.alignment.losses import cosines, dpo, info_nce
from llm_offline.alignment.policy import Policy, Text
from llm_offline.alignment_config import TuneConfig
from llm_offline.batching import length_batches


class Objective(Protocol):
    def __len__(self) -> int:
        """How many items there are to learn from."""
        ...

    def backward(self, policy: Policy, items: np.ndarray, seed: int | None) -> dict[str, float]:
        """Adds the gradient of the mean loss over ``items`` to the policy's weights; returns the loss and its parts."""
        ...


class Sft:
    """Eq. 8, per token: −log π(q^w | C) of the chosen queries over the number of their tokens."""

    def __init__(self, texts: Sequence[Text], config: TuneConfig) -> None:
        self._texts, self._config = texts, config

    def __len__(self) -> int:
        return len(self._texts)

    def backward(self, policy: Policy, items: np.ndarray, seed: int | None) -> dict[str, float]:
        """See `Objective`."""
        total, tokens = 0.0, _tokens(self._texts, items)
        for part in _parts(self._texts, items, self._config.micro_tokens):
            loss = -policy.read([self._texts[n] for n in items[part]], seed).log_probs.sum() / tokens
            loss.backward()
            total += loss.item()
        return {"loss": total}


@dataclass(frozen=True)
class Targets:
    """What the states of n texts shall come near to.

    Attributes:
        vectors: e⁺ (n, D), of the chosen queries.
        intents: of each text's session; texts with one in common are no negatives of each other.
        origin, scale: (D,), of the states: what is compared with a target is (state − origin) / scale.
    """

    vectors: Tensor
    intents: Sequence[frozenset[str]]
    origin: Tensor | None = None
    scale: Tensor | None = None

    def place(self, states: Tensor) -> Tensor:
        """States (b, D) as they are compared."""
        if self.origin is None or self.scale is None:
            return states
        return (states - self.origin.to(states)) / self.scale.to(states)


class Contrastive:
    """λ_CL · Eq. 11 + λ_causal · `Sft`'s loss."""

    def __init__(self, texts: Sequence[Text], targets: Targets, config: TuneConfig) -> None:
        self._texts, self._targets, self._config = texts, targets, config

    def __len__(self) -> int:
        return len(self._texts)

    def backward(self, policy: Policy, items: np.ndarray, seed: int | None) -> dict[str, float]:
        """See `Objective`; ``nearest`` is the share of items whose own target is the nearest of the batch."""
        config, tokens = self._config, _tokens(self._texts, items)
        sums = {"loss": 0.0, "contrastive": 0.0, "causal": 0.0, "nearest": 0.0}
        targets = self._targets.vectors[items].to(policy.device)  # (N, D)
        hidden = self._hidden(items).to(policy.device)
        for part in _parts(self._texts, items, config.micro_tokens):
            read = policy.read([self._texts[n] for n in items[part]], seed)
            own = torch.from_numpy(part).to(policy.device)
            others = hidden[own]
            if not config.gather:
                others = others | ~torch.isin(torch.arange(len(items), device=own.device), own)
            near = cosines(self._targets.place(read.states), targets.to(read.states), own, others)  # (b, N)
            contrastive = info_nce(near, own, config.temperature).sum() / len(items)
            causal = -read.log_probs.sum() / tokens
            loss = config.contrastive * contrastive + config.causal * causal
            loss.backward()
            found = {"loss": loss, "contrastive": contrastive, "causal": causal}
            sums = {name: value + (found[name].item() if name in found else 0) for name, value in sums.items()}
            sums["nearest"] += (near.argmax(1) == own).sum().item() / len(items)
        return sums

    def _hidden(self, items: np.ndarray) -> Tensor:
        """(N, N) bool: pairs whose intents have one in common."""
        intents = [self._targets.intents[n] for n in items]
        return torch.tensor([[bool(one & other) for other in intents] for one in intents])


class Dpo:
    """Eq. 10 over pairs of a chosen and a rejected query."""

    def __init__(self, pairs: Sequence[tuple[Text, Text]], before: np.ndarray, config: TuneConfig) -> None:
        """``before``: (n, 2) log π of both queries by the model that tuning starts from: `score`."""
        self._pairs, self._config = pairs, config
        self._before = torch.from_numpy(before)

    def __len__(self) -> int:
        return len(self._pairs)

    def backward(self, policy: Policy, items: np.ndarray, seed: int | None) -> dict[str, float]:
        """See `Objective`; ``preferred`` is the share of pairs whose chosen query has gained more."""
        texts = [text for pair in self._pairs for text in pair]
        longest = np.array([2 * max(map(len, self._pairs[n])) for n in items])
        total = preferred = 0.0
        for part in length_batches(longest, self._config.micro_tokens):
            rows = np.stack([2 * items[part], 2 * items[part] + 1], 1).ravel()
            found = policy.read([texts[n] for n in rows], seed).log_probs.view(-1, 2)
            before = self._before[items[part]].to(found)
            each = dpo(found[:, 0], found[:, 1], before[:, 0], before[:, 1], self._config.beta)
            loss = each.sum() / len(items)
            loss.backward()
            total += loss.item()
            gains = (found - before).detach()
            preferred += (gains[:, 0] > gains[:, 1]).sum().item() / len(items)
        return {"loss": total, "preferred": preferred}


def score(policy: Policy, texts: Sequence[Text], micro_tokens: int) -> np.ndarray:
    """(n,) log π(answer | prompt) of each text by the policy as it is."""
    found = np.empty(len(texts))
    with torch.no_grad(), tqdm(total=len(texts), desc="reference", unit="text") as bar:
        for part in _parts(texts, np.arange(len(texts)), micro_tokens):
            found[part] = policy.read([texts[n] for n in part]).log_probs.double().cpu().numpy()
            bar.update(len(part))
    return found


def _parts(texts: Sequence[Text], items: np.ndarray, micro_tokens: int) -> Iterator[np.ndarray]:
    """Positions in ``items``, of texts that go through the model together."""
    yield from length_batches(np.array([len(texts[n]) for n in items]), micro_tokens)


def _tokens(texts: Sequence[Text], items: np.ndarray) -> int:
    return sum(len(texts[n].answer) for n in items)

