"""What prompts begin with alike: the keys and values of that are computed once.

Within a batch (`Beginnings`) there are two levels: the beginning of all prompts, and that of each *family* among them,
such as the facts of one user that several questions are about. A `Beginning` that is known beforehand, such as an
instruction, is computed once for all batches.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

_LEAST = 16  # tokens of a beginning, or it does not pay

Ids = Sequence[Sequence[int]]


def shared_tokens(ids: Ids) -> int:
    """How many tokens all prompts begin with, each keeping one of its own; 0 where it does not pay."""
    shared = min(len(os.path.commonprefix(ids)), min(map(len, ids)) - 1)
    return shared if len(ids) > 1 and shared >= _LEAST else 0


def kin(ids: Ids, shared: int) -> list[list[int]]:
    """The prompts, by place, in families that have a longer beginning in common than the ``shared`` tokens of all.

    In the order of their tokens a prompt joins the family before it wherever that saves tokens.
    """
    families: list[list[int]] = []
    stem = 0  # of the last family
    for place in sorted(range(len(ids)), key=ids.__getitem__):
        if families:
            joined = min(_stem(ids, [families[-1][0], place]), stem)
            size = len(families[-1])
            if joined - shared >= _LEAST and size * (joined - shared) > (size - 1) * (stem - shared):
                families[-1].append(place)
                stem = joined
                continue
        families.append([place])
        stem = len(ids[place]) - 1
    return families


def _stem(ids: Ids, family: Sequence[int]) -> int:
    """How many tokens a family begins with, each of its prompts keeping one of its own."""
    some = [ids[place] for place in family]
    return min(len(os.path.commonprefix(some)), min(map(len, some)) - 1)


@dataclass(frozen=True)
class Beginnings:
    """Of a batch of B prompts in F families.

    Attributes:
        shared: tokens that all begin with. family: of each prompt, its number. stems: of each family, how many tokens
            are computed once for it, those shared among them; F is 0 where no prompt has kin.
    """

    shared: int
    family: tuple[int, ...]
    stems: tuple[int, ...]

    @classmethod
    def of(cls, ids: Ids) -> Beginnings:
        shared = shared_tokens(ids)
        families = kin(ids, shared)
        stems = {n: _stem(ids, family) for n, family in enumerate(families) if len(family) > 1}
        if not stems:
            return cls(shared, (), ())
        # One without kin leaves as much for its own as the longest of the others, so that it adds no padding there.
        own = max(len(ids[place]) - stem for n, stem in stems.items() for place in families[n])
        stems |= {n: max(shared, len(ids[family[0]]) - own) for n, family in enumerate(families) if len(family) == 1}
        numbers = {place: n for n, family in enumerate(families) for place in family}
        return cls(shared, tuple(numbers[place] for place in range(len(ids))), tuple(stems[n] for n in sorted(stems)))

    @property
    def width(self) -> int:
        """Of what is computed before the prompts' own tokens, padding included."""
        return max(self.stems, default=self.shared)

    def laid_out(self, ids: Ids, pad: int) -> tuple[Tensor, Tensor]:
        """Tokens and mask (B, L): what all share, padding, a family's stem, padding, and a prompt's own end."""
        rows, mask = [], []
        stems = [self.stems[n] for n in self.family] or [self.shared] * len(ids)
        longest = max(len(row) - stem for row, stem in zip(ids, stems, strict=True))
        for row, stem in zip(ids, stems, strict=True):
            before, between = self.width - stem, longest - (len(row) - stem)
            rows.append([*row[: self.shared], *[pad] * before, *row[self.shared : stem], *[pad] * between, *row[stem:]])
            mask.append([1] * self.shared + [0] * before + [1] * (stem - self.shared) + [0] * between
                        + [1] * (len(row) - stem))  # fmt: skip
        return torch.tensor(rows), torch.tensor(mask)

    def computed(self, model: PreTrainedModel, rows: Tensor, mask: Tensor) -> DynamicCache | None:
        """Keys and values of the first `width` columns of what is ``laid_out``; None where there are none.

        Args:
            model: with its head.
        """
        if not self.width:
            return None
        cache = DynamicCache(config=model.config)
        if self.shared:
            model(input_ids=rows[:1, : self.shared], past_key_values=cache, use_cache=True, logits_to_keep=1)
        if not self.stems:
            cache.batch_repeat_interleave(len(rows))
            return cache
        if self.shared:
            cache.batch_repeat_interleave(len(self.stems))
        first = torch.tensor([self.family.index(n) for n in range(len(self.stems))])
        known = mask[first, : self.width]
        places = (known.cumsum(1) - 1).clamp(min=0)
        if self.width > self.shared:
            model(
                input_ids=rows[first, self.shared : self.width], attention_mask=known,
                position_ids=places[:, self.shared :], past_key_values=cache, use_cache=True, logits_to_keep=1,
            )  # fmt: skip
        cache.batch_select_indices(torch.tensor(self.family))
        return cache


class Beginning:
    """P tokens that texts begin with, as a decoder reads them: causally, so that what follows changes nothing.

    Attributes:
        tokens: (P,). states: (1, P, D), the model's last.
    """

    def __init__(self, model: PreTrainedModel, tokens: Sequence[int]) -> None:
        """
        Args:
            model: without its head.
        """
        self.tokens, self._cache = list(tokens), DynamicCache(config=model.config)
        ids = torch.tensor([self.tokens], device=model.device)
        self.states = model(input_ids=ids, past_key_values=self._cache, use_cache=True).last_hidden_state

    def starts(self, ids: Sequence[int]) -> bool:
        """Whether a text begins so, and goes on."""
        return len(ids) > len(self.tokens) and list(ids[: len(self.tokens)]) == self.tokens

    def cache(self, rows: int) -> DynamicCache:
        """Keys and values for so many texts that begin so."""
        cache = copy.deepcopy(self._cache)
        cache.batch_repeat_interleave(rows)
        return cache
