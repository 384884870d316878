"""The side process's part of training: it answers forward and backward requests, and applies each batch once."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from llm_offline.config import LlmConfig
from llm_offline.knowledge.applied import Applied
from llm_offline.knowledge.reasoner import Question, Reasoner
from llm_offline.knowledge.request import Held, Request, digest_of

VERSIONS = 16
"""How many adapter versions are kept, so that a gradient is that of the adapter its forward pass used."""

ANSWERS = 32
"""How many gradients of prompts are remembered for requests that are sent again."""


class Learner:
    """A reasoner in training. Not thread-safe: batches are applied one after another.

    A gradient is taken at the weights that answered the forward pass, and applied to the newest.

    Attributes:
        version: updates so far.
        step: the newest step that was applied.
        counts: of what happened: forward; backward (applied); updates; duplicates (sent again, answered again); again
            (trained again after a worker's loss, not applied); late (too old to know whether it was applied, not
            applied); recomputed (the forward pass was no longer held); replaced (so was its adapter version: the
            gradient is that of the newest); known (forward passes that teach nothing); seconds of work.
    """

    def __init__(self, reasoner: Reasoner, config: LlmConfig) -> None:
        self._reasoner, self._config = reasoner, config
        self._weights = reasoner.trainable()
        self._begin()
        self._first = self.state()

    def _begin(self) -> None:
        kinds = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
        values, config = list(self._weights.values()), self._config
        decoupling, lora = config.decoupling_learning_rate, config.learning_rate
        rates = [decoupling if name.startswith("decoupling.") else lora for name in self._weights]
        groups = [{"params": [value], "lr": rate} for value, rate in zip(values, rates, strict=True)]
        self._optimizer = kinds[config.optimizer](groups, weight_decay=0.0)
        self.version, self.step = 0, 0
        self.counts: Counter[str] = Counter()
        self._applied = Applied()
        self._answers: OrderedDict[tuple[int, int], tuple[bytes, np.ndarray]] = OrderedDict()
        self._held: OrderedDict[tuple[int, int], Held] = OrderedDict()
        self._sums = [torch.zeros_like(value) for value in values]
        self._steps = 0  # batches whose gradients are in the sums
        self._parts: dict[int, tuple[int, list[Tensor]]] = {}  # by step: parts that arrived, and their sums
        self._versions: OrderedDict[int, dict[str, Tensor]] = OrderedDict()
        self._remember_version()

    def forward(self, request: Request, question: Question) -> tuple[np.ndarray, int]:
        """The knowledge (B, m, d), and the adapter's version that it is of.

        Raises:
            ValueError: as `Reasoner.answer`, or shapes that do not fit.
        """
        began = time.monotonic()
        self._reasoner.check(question)
        self.counts["forward"] += 1
        digest = digest_of(question.prompts, question.mask, question.history)
        held = self._held.get(request.key)
        if held is None or held.digest != digest:
            held = self._answer(request, question, digest)
        self.counts["seconds"] += time.monotonic() - began
        return held.knowledge, held.version

    def backward(self, request: Request, upstream: np.ndarray, learns: np.ndarray) -> np.ndarray | None:
        """Applies the batch's gradient, and gives that of the prompts (B, m, D).

        None where the forward pass is no longer held: `replay` then does it. A request that comes again gets its
        answer again. A batch that is trained again, because its worker was lost, gets its own gradient, but what the
        first one taught is not added to.

        Args:
            upstream: (B, m, d), of the loss for the knowledge. learns: (B,) bool, rows that LoRA learns from.
        Raises:
            ValueError: the gradient is not finite, or its shape is not the knowledge's.
        """
        began = time.monotonic()
        if (known := self._known(request, upstream)) is not None:
            return known
        held = self._held.get(request.key)
        if held is None or not held.answers or held.version != request.version:
            return None
        answer = self._take(request, held.answers, held.version, held.knowledge.shape, upstream, learns)
        self.counts["seconds"] += time.monotonic() - began
        return answer

    def replay(self, request: Request, question: Question, upstream: np.ndarray, learns: np.ndarray) -> np.ndarray:
        """As `backward`, with all that is needed to compute the forward pass again.

        Raises:
            ValueError: as `forward` and `backward`.
        """
        began = time.monotonic()
        if (known := self._known(request, upstream)) is not None:
            return known
        self._reasoner.check(question)
        self.counts["recomputed"] += 1
        version = request.version
        if version not in self._versions:
            self.counts["replaced"] += 1
            version = self.version
        shape = (*question.mask.shape, self._config.d)
        answers = self._reasoner.answer(question, self._versions[version])
        answer = self._take(request, answers, version, shape, upstream, learns)
        self.counts["seconds"] += time.monotonic() - began
        return answer

    def learn(self, step: int, question: Question, upstream: np.ndarray) -> None:
        """Applies a gradient (B, m, d) of knowledge that was frozen when its loss was taken, once.

        It is taken through the newest weights, without dropout: as that knowledge was made.

        Raises:
            ValueError: as `forward` and `backward`.
        """
        self._reasoner.check(question)
        request, shape = Request(step, 0, 1, self.version), (*question.mask.shape, self._config.d)
        answers = self._reasoner.answer(replace(question, seed=None), self._versions[self.version])
        self._take(request, answers, self.version, shape, upstream, np.ones(len(upstream), bool))
        self._answers.clear()

    def know(self, question: Question, weights: Mapping[str, Tensor] | None = None) -> np.ndarray:
        """The knowledge (B, m, d) with the newest adapter, or with ``weights``; nothing is learnt or remembered.

        Raises:
            ValueError: as `forward`, or ``weights`` of other sizes.
        """
        began = time.monotonic()
        self._reasoner.check(question)
        self.counts["known"] += 1
        if weights is None:
            weights = self._versions[self.version]
        else:
            self._check_sizes(weights)
        knowledge = self._room(question)
        with torch.no_grad():
            for answer in self._reasoner.answer(question, weights):
                knowledge[answer.rows] = answer.knowledge.cpu().numpy()
        self.counts["seconds"] += time.monotonic() - began
        return knowledge

    def about(self) -> dict[str, float]:
        """What a trainer has to know of the language model: D, d, and the scale of its input embeddings."""
        return {"width": self._reasoner.width, "knowledge_width": self._config.d, "scale": self._reasoner.scale}

    def first(self) -> dict[str, Tensor]:
        """The weights as they were before anything was learnt."""
        return self._first["weights"]

    def state(self) -> dict[str, Any]:
        """All that `restore` needs: tensors, numbers and text."""
        return {
            "model": self._reasoner.model_id,
            "weights": {name: value.detach().clone() for name, value in self._weights.items()},
            "optimizer": deepcopy(self._optimizer.state_dict()),
            "version": self.version,
            "step": self.step,
            "applied": self._applied.state(),
            "answers": [[*key, sent, torch.from_numpy(value)] for key, (sent, value) in self._answers.items()],
            "sums": [value.clone() for value in self._sums],
            "steps": self._steps,
            "parts": {step: [count, list(sums)] for step, (count, sums) in self._parts.items()},
        }

    def start_from(self, state: dict[str, Any]) -> None:
        """Begins with the weights and the optimizer of another training's `state`; errors as `restore`."""
        self.restore({**self._first, **{part: state[part] for part in ("model", "weights", "optimizer")}})
        self._first = self.state()

    def restore(self, state: dict[str, Any] | None) -> None:
        """Goes back to a state; None is the beginning. Forward passes that are held are forgotten.

        Raises:
            ValueError: it is of another language model or of other sizes.
        """
        state = self._first if state is None else state
        if state["model"] != self._reasoner.model_id:
            raise ValueError(f"checkpoint: is of {state['model']}, this is {self._reasoner.model_id}")
        self._check_sizes(state["weights"])
        with torch.no_grad():
            for name, value in self._weights.items():
                value.copy_(state["weights"][name])
        self._begin()
        self._optimizer.load_state_dict(deepcopy(state["optimizer"]))  # it keeps the tensors that it is given
        self._versions.clear()
        self.version, self.step = state["version"], state["step"]
        self._remember_version()
        self._applied = Applied.of_state(state["applied"])
        self._answers.update(((step, part), (sent, value.numpy())) for step, part, sent, value in state["answers"])
        for mine, value in zip(self._sums, state["sums"], strict=True):
            mine.copy_(value)
        self._steps = state["steps"]
        self._parts = {step: (count, [one.clone() for one in sums]) for step, (count, sums) in state["parts"].items()}

    def _known(self, request: Request, upstream: np.ndarray) -> np.ndarray | None:
        sent, answer = self._answers.get(request.key, (b"", None))
        if answer is None or sent != digest_of(upstream):
            return None
        self.counts["duplicates"] += 1
        return answer

    def _check_sizes(self, weights: Mapping[str, Tensor]) -> None:
        sizes = {name: tuple(value.shape) for name, value in self._weights.items()}
        there = {name: tuple(value.shape) for name, value in weights.items()}
        if there != sizes:
            odd = sorted(name for name in {*sizes, *there} if sizes.get(name) != there.get(name))
            raise ValueError(f"checkpoint: was made with another llm.rank, d or layers: {odd[0]} differs")

    def _room(self, question: Question) -> np.ndarray:
        return np.empty((*question.mask.shape, self._config.d), str(self._reasoner.wire).removeprefix("torch."))

    def _answer(self, request: Request, question: Question, digest: bytes) -> Held:
        leaves = self._versions[self.version]
        knowledge = self._room(question)
        answers, tokens = [], 0
        for answer in self._reasoner.answer(question, leaves):
            knowledge[answer.rows] = answer.knowledge.detach().cpu().numpy()
            tokens += answer.tokens
            if tokens <= self._config.held_tokens:
                answers.append(answer)
        if tokens > self._config.held_tokens:
            answers, tokens = [], 0
        held = Held(digest, self.version, tokens, knowledge, answers)
        self._held.pop(request.key, None)
        self._held[request.key] = held
        while sum(one.tokens for one in self._held.values()) > self._config.held_tokens or len(self._held) > ANSWERS:
            self._held.popitem(last=False)
        return held

    def _take(self, request, answers, version, shape, upstream, learns) -> np.ndarray:
        """Takes the gradients of ``answers``, adds them to the sums unless they were, remembers the prompts'."""
        if upstream.shape != tuple(shape) or learns.shape != upstream.shape[:1]:
            raise ValueError(f"gradient: must be of the knowledge's shape {tuple(shape)}, received {upstream.shape}")
        if not np.isfinite(upstream).all():
            raise ValueError(f"gradient: must be finite, that of step {request.step} is not")
        leaves = list(self._versions[version].values())
        sums = [torch.zeros_like(value) for value in self._sums]
        found = np.zeros((*shape[:2], self._reasoner.width), upstream.dtype)
        for answer in answers:
            found[answer.rows], gradients = self._reasoner.gradients(answer, upstream, learns, leaves)
            torch._foreach_add_(sums, gradients)
        self._held.pop(request.key, None)
        if self._applied.late(request.step):
            self.counts["late"] += 1
        elif self._applied.add(request.key):
            self.counts["backward"] += 1
            self._learn(request, sums)
        else:
            self.counts["again"] += 1
        self._answers[request.key] = digest_of(upstream), found
        while len(self._answers) > ANSWERS:
            self._answers.popitem(last=False)
        return found

    def _learn(self, request: Request, gradients: list[Tensor]) -> None:
        """Adds a part's gradients; with the last part of the last batch to be accumulated, updates the weights."""
        if request.parts > 1:
            count, sums = self._parts.pop(request.step, (0, [torch.zeros_like(value) for value in gradients]))
            torch._foreach_add_(sums, gradients)
            if count + 1 < request.parts:
                self._parts[request.step] = count + 1, sums
                return
            gradients = sums
        torch._foreach_add_(self._sums, gradients)
        self._steps += 1
        self.step = max(self.step, request.step)
        if self._steps < self._config.accumulate:
            return
        for value, total in zip(self._weights.values(), self._sums, strict=True):
            value.grad = total / self._steps
            total.zero_()
        self._optimizer.step()
        self._optimizer.zero_grad()
        self._steps = 0
        self.version += 1
        self.counts["updates"] += 1
        self._remember_version()

    def _remember_version(self) -> None:
        found = {name: value.detach().clone().requires_grad_() for name, value in self._weights.items()}
        self._versions[self.version] = found
        while len(self._versions) > VERSIONS:
            self._versions.popitem(last=False)
