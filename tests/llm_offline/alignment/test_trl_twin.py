"""Loss and gradients of RG-SFT and RG-DPO are those of TRL's trainers, on the same weights and tokens."""

import numpy as np
import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from llm_offline.alignment.objectives import Dpo, Sft, score
from llm_offline.alignment.policy import Text
from llm_offline.alignment_config import TuneConfig

TUNE = TuneConfig(rank=2, alpha=4.0, dropout=0.0, neftune=0.0, micro_tokens=20, beta=0.3)


@pytest.fixture
def pairs(texts):
    """Two answers of other lengths to each of three prompts."""
    random = np.random.default_rng(4)
    others = [tuple(random.integers(5, 70, count).tolist()) for count in (2, 5, 1)]
    return [(text, Text(10 + text.number, text.prompt, other)) for text, other in zip(texts, others, strict=False)]


@pytest.fixture
def model(chat_llm):
    """PEFT's, whose adapters change nothing yet: TRL keeps them as the reference of DPO."""
    loaded = AutoModelForCausalLM.from_pretrained(chat_llm, dtype=torch.float32)
    adapters = LoraConfig(r=2, lora_alpha=4.0, lora_dropout=0.0, target_modules=["q_proj", "v_proj"])
    return get_peft_model(loaded, adapters)


def _layer(name):
    """What tells a weight apart whatever it is wrapped in: layer, projection and half."""
    parts = name.split(".")
    return ".".join(parts[parts.index("layers") :])


def _batch(texts):
    """Tokens, padded on the right, and where the answers are."""
    longest = max(map(len, texts))
    told = {"input_ids": [], "attention_mask": [], "completion_mask": []}
    for text in texts:
        pad = [0] * (longest - len(text))
        told["input_ids"].append([*text.prompt, *text.answer, *pad])
        told["attention_mask"].append([1] * len(text) + pad)
        told["completion_mask"].append([0] * len(text.prompt) + [1] * len(text.answer) + pad)
    return {name: torch.tensor(rows) for name, rows in told.items()}


def _theirs(mine, trainer, batch):
    """The trainer's loss and its gradients by layer, with the adapters of ``mine``."""
    values = {_layer(name): value for name, value in mine.weights().items()}
    learnt = {_layer(name): value for name, value in trainer.model.named_parameters() if value.requires_grad}
    with torch.no_grad():
        for name, value in learnt.items():
            value.copy_(values[name])
    trainer.model.eval()
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    return loss.item(), {name: value.grad for name, value in learnt.items()}


def _ours(mine):
    """The policy's gradients by layer."""
    return {_layer(name): value.grad for name, value in mine.weights().items()}


def _options(tmp_path):
    return {"output_dir": str(tmp_path), "report_to": "none", "use_cpu": True, "bf16": False,
            "gradient_checkpointing": False}  # fmt: skip


def test_dpo(model, pairs, policy, chat_llm, tmp_path):
    mine, base = policy("float32"), policy("float32")
    for name, value in base.weights().items():
        if "lora_B" in name:
            torch.nn.init.zeros_(value)
    before = score(base, [text for pair in pairs for text in pair], 20).reshape(-1, 2)
    found = Dpo(pairs, before, TUNE).backward(mine, np.arange(3), None)
    row = {"prompt": "a", "chosen": "b", "rejected": "c"}  # a trainer wants a data set; it is given the batch
    trainer = DPOTrainer(
        model, args=DPOConfig(beta=TUNE.beta, **_options(tmp_path)), train_dataset=Dataset.from_list([row]),
        processing_class=AutoTokenizer.from_pretrained(chat_llm),
    )  # fmt: skip
    chosen, rejected = zip(*pairs, strict=True)
    loss, gradients = _theirs(mine, trainer, _batch([*chosen, *rejected]))
    assert found["loss"] == pytest.approx(loss, rel=1e-5) and loss != pytest.approx(np.log(2), abs=1e-3)
    assert max(value.abs().max() for value in gradients.values()) > 1e-3
    torch.testing.assert_close(_ours(mine), gradients, atol=1e-6, rtol=1e-4)


def test_sft(model, texts, policy, chat_llm, tmp_path):
    mine = policy("float32")
    found = Sft(texts, TUNE).backward(mine, np.arange(6), None)
    row = {"prompt": "a", "completion": "b"}
    trainer = SFTTrainer(
        model, args=SFTConfig(**_options(tmp_path)), train_dataset=Dataset.from_list([row]),
        processing_class=AutoTokenizer.from_pretrained(chat_llm),
    )  # fmt: skip
    batch = _batch(texts)
    batch["labels"] = batch["input_ids"].masked_fill(batch.pop("completion_mask") == 0, -100)
    loss, gradients = _theirs(mine, trainer, batch)
    assert found["loss"] == pytest.approx(loss, rel=1e-5)
    assert max(value.abs().max() for value in gradients.values()) > 1e-3
    torch.testing.assert_close(_ours(mine), gradients, atol=1e-6, rtol=1e-4)
