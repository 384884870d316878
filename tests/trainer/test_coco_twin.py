"""CoCo over a real side process beside the same training in torch alone, in float64."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
import torch
from coco_chain import COCO, HISTORY, MODEL, TARGETS, Chain, adapter
from torch.func import functional_call

from llm_offline.config import LlmConfig
from llm_offline.knowledge.reasoner import Reasoner, _padded
from llm_offline.knowledge.titles import Titles, read_titles
from llm_offline.language_model import load

pytestmark = pytest.mark.usefixtures("doubles")


class Twin:
    """The same training in torch alone, in one graph: no link, no custom gradient, no gate inside LoRA.

    Users that were helped get their knowledge from LoRA weights that are cut off the graph.
    """

    def __init__(self, chain, reasoner, texts, start):
        self.coco, self.backbone, self.config = chain.coco, chain.coco.backbone, chain.coco.config
        self.reasoner, self.texts = reasoner, texts
        self.mine = {id(w): torch.tensor(w.numpy(), requires_grad=True) for w in chain.weights}
        self.weights = [self.mine[id(w)] for w in chain.weights]
        self.items = self.weights[0]
        self.adapter = {name: torch.tensor(value, requires_grad=True) for name, value in start.items()}

    def of(self, variable):
        return self.mine[id(variable)]

    def dense(self, layer, x):
        found = x @ self.of(layer.kernel)
        return found + self.of(layer.bias) if layer.use_bias else found

    def norm(self, layer, x):
        return torch.nn.functional.layer_norm(x, x.shape[-1:], self.of(layer.gamma), self.of(layer.beta), 1e-8)

    def attend(self, q, k, v, visible, heads):
        q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k, v))
        scores = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).masked_fill(~visible[:, None], -1e9)
        return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)

    def behaviour(self, history, there):
        """SASRec: h_RS (B, L, d)."""
        encoder = self.backbone.encoder
        (block,), length = encoder.blocks, history.shape[1]
        x = self.items[history] * MODEL.d**0.5 + self.of(encoder.position)
        causal = torch.ones(length, length, dtype=torch.bool).tril()
        layer, normed = block.attention, self.norm(block.norms[0], x)
        parts = self.dense(layer.query, normed), self.dense(layer.key, x), self.dense(layer.value, x)
        mixed = self.attend(*parts, there[:, None] & causal, MODEL.heads)
        x = self.norm(block.norms[1], x + self.dense(layer.output_, mixed))
        return self.norm(encoder.norm, x + self.dense(block.down, self.dense(block.up, x).relu()))

    def knowledge(self, prompts, mask, helped=None):
        tokens, text = self.texts
        adapter = self.adapter
        if helped is not None:
            adapter = {name: value.detach() if "lora" in name else value for name, value in adapter.items()}
        return functional_call(self.reasoner, adapter, (prompts, mask, tokens, text))

    def loss(self):
        config, history, targets = self.config, torch.tensor(HISTORY.numpy()), torch.tensor(TARGETS.numpy())
        there, unit = history > 0, torch.nn.functional.normalize
        h = self.behaviour(history, there)
        codes, shared, project = (self.of(getattr(self.coco.codebook, name)) for name in ("codes", "shared", "project"))
        e = self.coco.codebook.length * unit(h[:, -1] @ project, dim=-1)
        cosines = unit(e, dim=-1) @ unit(codes, dim=-1).T
        nearest, index = cosines.topk(config.selected)
        chosen, weights = codes[index], (cosines / config.temperature).softmax(-1).gather(1, index)
        selected = nearest > config.threshold
        gated = chosen * (1 + weights - weights.detach())[..., None] * selected[..., None]
        prompts = torch.cat([shared.expand(len(h), -1, -1), gated], 1)
        mask = torch.cat([torch.ones(len(h), config.shared, dtype=torch.bool), selected], 1)
        free, cut = self.knowledge(prompts, mask), self.knowledge(prompts, mask, helped=True)
        m = self.helped(h, free.detach(), mask, targets[:, -1])
        aligned = self.aligned(h, torch.where(m[:, None, None], cut, free), mask)
        taken = torch.where(selected.any(1, keepdim=True), selected, torch.arange(config.selected) == 0).double()
        far = ((e.detach()[:, None] - chosen) ** 2).sum(-1)
        far = far + config.commitment * ((e[:, None] - chosen.detach()) ** 2).sum(-1)
        square = (unit(codes, dim=-1) @ unit(codes, dim=-1).T) ** 2
        parts = (
            self.cross_entropy(aligned, targets[:, -1], history),
            self.cross_entropy(h[there], targets[there]),
            (square.sum() - square.trace()) / (config.codes * (config.codes - 1)),
            ((taken * far).sum(1) / taken.sum(1)).mean(),
        )
        return sum(w * part for w, part in zip((1, config.alpha, config.beta, config.gamma), parts, strict=True)), m

    def aligned(self, h, knowledge, mask):
        layer, pieces = self.coco.fusion, self.dense(self.coco.fusion.lift, knowledge)
        tokens = torch.cat([h[:, -1:].expand_as(pieces), pieces], -1)
        tokens = self.dense(layer.outer, self.dense(layer.inner, tokens).relu())
        parts = self.dense(layer.query, h[:, -1:]), self.dense(layer.key, tokens), self.dense(layer.value, tokens)
        mixed = self.attend(*parts, mask[:, None], layer.heads)[:, 0]
        return mixed + h[:, -1] if layer.residual else mixed

    def helped(self, h, knowledge, mask, target):
        with torch.no_grad():
            near = torch.nn.functional.cosine_similarity
            vector = self.items[target]
            return near(self.aligned(h, knowledge, mask), vector) > near(h[:, -1], vector)

    def cross_entropy(self, h, target, met=None):
        """Over all items, or those that are not ``met`` (B, L), a target never being one of these."""
        logits = h @ self.items.T
        out = torch.zeros_like(logits, dtype=torch.bool)
        if met is not None:
            out = out.scatter(1, met.long(), True).scatter(1, target.long()[:, None], False)
        return torch.nn.functional.cross_entropy(logits.masked_fill(out, -torch.inf)[:, 1:], target.long() - 1)

    def step(self):
        """The loss, the gradients of all weights, those of the adapter, and how many users were helped."""
        loss, m = self.loss()
        found = torch.autograd.grad(loss, [*self.weights, *self.adapter.values()])
        own = found[: len(self.weights)]
        return float(loss), own, dict(zip(self.adapter, found[len(own) :], strict=True)), int(m.sum())


def test_a_hundred_steps_are_those_of_a_twin_in_torch_alone(side, shop, tiny_llm):
    """Straight-through gate, L_Q and M included: every gradient of the first step, then losses and weights."""
    coco = replace(COCO, gate="straight_through", gamma=0.25, residual=True)
    chain = Chain(side, coco)
    chain.coco.fusion.value.kernel.assign(np.random.default_rng(4).normal(size=(MODEL.d, MODEL.d)) * 0.3)
    config = LlmConfig(model=str(tiny_llm), dtype="float64", max_tokens=24, d=4, rank=2, dropout=0.0)
    language_model = load(config)
    vocabulary = shop / "examples" / "vocabulary" / "item.txt"
    titles = Titles(read_titles(shop / "tables", vocabulary), language_model.tokenizer, config.max_tokens)
    texts = [torch.from_numpy(part) for part in _padded(titles.texts(HISTORY.numpy()))]
    start = adapter(side, chain, 0)
    twin = Twin(chain, Reasoner(language_model, titles, config), texts, start)

    taken = tf.function(lambda number: chain.taken(number), input_signature=[tf.TensorSpec((), tf.int64)])
    seen = set()
    for number in range(1, 101):
        loss, own, adapters, helped = twin.step()
        seen.add(helped)
        mine, gradients = taken(tf.constant(number, tf.int64))
        assert float(mine) == pytest.approx(loss, rel=1e-6), number
        if number == 1:
            for weight, one, other in zip(chain.weights, gradients, own, strict=True):
                np.testing.assert_allclose(one, other, rtol=0, atol=1e-9, err_msg=weight.name)
            for name, value in adapter(side, chain, 1).items():
                np.testing.assert_allclose((start[name] - value) / 0.1, adapters[name], rtol=0, atol=1e-9, err_msg=name)
        for weight, gradient in zip(chain.weights, gradients, strict=True):
            weight.assign_sub(0.05 * gradient)
        with torch.no_grad():
            for weight, gradient in zip(twin.weights, own, strict=True):
                weight -= 0.05 * gradient
            for name, gradient in adapters.items():
                twin.adapter[name] -= 0.1 * gradient
    assert len(seen) > 1  # M was not the same all the way
    for weight, other in zip(chain.weights, twin.weights, strict=True):
        np.testing.assert_allclose(weight, other.detach(), rtol=0, atol=1e-6, err_msg=weight.name)
    for name, value in adapter(side, chain, 100).items():
        np.testing.assert_allclose(value, twin.adapter[name].detach(), rtol=0, atol=1e-6, err_msg=name)
