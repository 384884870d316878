import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from feature_store.errors import DataError
from llm_offline import adapter
from llm_offline.alignment_config import ReasonerConfig
from llm_offline.identity import model_id
from llm_offline.language_model import load

TOKENS = torch.tensor([[5, 6, 7, 8]])


@pytest.fixture
def config(chat_llm):
    return ReasonerConfig(model=str(chat_llm), max_tokens=64, batch_tokens=64)


@pytest.fixture
def folder(config, tmp_path):
    """An adapter of the second layer's query projection: A (1, 16), B (16, 1), α 3."""
    torch.manual_seed(0)
    place = "model.layers.1.self_attn.q_proj"
    shapes = {"lora_A": (1, 16), "lora_B": (16, 1)}
    weights = {f"{place}.{half}.default.weight": torch.randn(shape) for half, shape in shapes.items()}
    adapter.write(tmp_path / "a", weights, config.model, model_id(config), 3.0, "sft", {"parent": "base"})
    return tmp_path / "a"


def test_merging_adds_the_product_times_alpha_over_r(config, folder):
    plain, weights = load(config).model, adapter.weights_of(folder)
    tuned = load(config, adapter=folder)
    (a, b) = (weights[f"model.layers.1.self_attn.q_proj.lora_{half}.default.weight"] for half in "AB")
    found = tuned.model.layers[1].self_attn.q_proj.weight - plain.layers[1].self_attn.q_proj.weight
    np.testing.assert_allclose(found.detach(), 3.0 * b @ a, atol=1e-5)
    assert torch.equal(tuned.model.layers[0].self_attn.q_proj.weight, plain.layers[0].self_attn.q_proj.weight)
    assert tuned.adapter_version == adapter.version_of(folder) and tuned.adapter_version.startswith("sft-")
    assert load(config).adapter_version == adapter.version_of(None) == "base"


@pytest.mark.filterwarnings("ignore:Found missing adapter keys")  # of the first layer
def test_peft_reads_the_folder_and_computes_the_same(config, folder, chat_llm):
    theirs = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(chat_llm), folder).eval()
    ours = load(config, writes=True, adapter=folder).model
    with torch.inference_mode():
        np.testing.assert_allclose(ours(TOKENS).logits, theirs(TOKENS).logits, atol=1e-4)
    plain = load(config, writes=True).model
    with torch.inference_mode():
        assert (ours(TOKENS).logits - plain(TOKENS).logits).abs().max() > 1e-2


def test_an_adapter_of_another_model_is_refused_and_of_another_dtype_is_not(config, folder, tiny_llm):
    assert load(ReasonerConfig(model=config.model, dtype="bfloat16"), adapter=folder).adapter_version.startswith("sft-")
    with pytest.raises(DataError, match="field 'model_id': is of another model"):
        load(ReasonerConfig(model=str(tiny_llm)), adapter=folder)


def test_the_version_is_of_the_weights(config, tmp_path):
    made = []
    for n, value in enumerate((1.0, 1.0, 2.0)):
        weights = {f"q_proj.lora_{half}.default.weight": torch.full((1, 1), value) for half in "AB"}
        made.append(adapter.write(tmp_path / str(n), weights, "m", "id", 1.0, "cl", {})["adapter_version"])
    assert made[0] == made[1] != made[2]
