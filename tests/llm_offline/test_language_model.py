import socket
import subprocess
import sys

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen3Config, Qwen3Model

from llm_offline.config import EmbedConfig
from llm_offline.language_model import load
from llm_offline.model_files import plain_copy_of_gguf, resolve, wheel_file

TEXT = "The capital of France is"


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_minilm_loads_without_network(no_network):
    loaded = load(EmbedConfig())
    assert loaded.width == 384
    assert loaded.dtype == torch.float32
    assert loaded.model_id.startswith("minilm-0.1.0@")
    assert loaded.model_id.endswith("/layers=6/float32")
    assert not loaded.model.training


@torch.inference_mode()
def test_the_plain_copy_gives_the_packed_models_logits(model_cache):
    packed, _ = wheel_file("smollm2")
    folder = plain_copy_of_gguf(packed)
    tokenizer = AutoTokenizer.from_pretrained(packed.parent, gguf_file=packed.name)
    ids = tokenizer(TEXT, return_tensors="pt").input_ids
    assert AutoTokenizer.from_pretrained(folder)(TEXT).input_ids == ids[0].tolist()
    expected = AutoModelForCausalLM.from_pretrained(packed.parent, gguf_file=packed.name)(ids).logits
    found = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)(ids).logits
    assert torch.allclose(found, expected, atol=1e-4)
    assert tokenizer.decode(found[0, -1].argmax()) == " Paris"


@torch.inference_mode()
def test_first_layers_are_those_of_the_whole_model(model_cache, no_network):
    cut = load(EmbedConfig(model="smollm2", layers=2))
    assert "/layers=2/" in cut.model_id
    whole = load(EmbedConfig(model="smollm2"))
    ids = whole.tokenizer(TEXT, return_tensors="pt").input_ids
    after_two = whole.model(ids, output_hidden_states=True).hidden_states[2]
    assert torch.allclose(cut.model(ids).last_hidden_state, whole.model.norm(after_two), atol=1e-5)


def test_a_folder_of_another_family_loads_and_can_be_cut(tmp_path):
    shape = {"hidden_size": 8, "intermediate_size": 16, "num_attention_heads": 2, "num_key_value_heads": 1}
    config = Qwen3Config(vocab_size=30522, num_hidden_layers=3, head_dim=4, **shape)
    Qwen3Model(config).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(resolve("minilm")[0]).save_pretrained(tmp_path)
    loaded = load(EmbedConfig(model=str(tmp_path), layers=2))
    assert (loaded.width, len(loaded.model.layers)) == (8, 2)
    assert loaded.model_id.startswith(f"{tmp_path.name}@")


def test_bfloat16_weights_are_bfloat16():
    assert load(EmbedConfig(dtype="bfloat16", layers=1)).model.dtype == torch.bfloat16


def test_too_many_layers_are_refused():
    with pytest.raises(ValueError, match="embed.layers must be at most 6, .* received 7"):
        load(EmbedConfig(layers=7))


def test_tensorflow_is_never_imported():
    code = (
        "import sys; from llm_offline.embedder import Embedder; from llm_offline.config import EmbedConfig; "
        "Embedder(EmbedConfig(layers=1)).encode(['soap']); sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0
