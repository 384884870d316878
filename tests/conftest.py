"""What every test shares: quiet libraries, and where the public data sets lie."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # before anything imports TensorFlow
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

from benchmarks import _data  # noqa: E402

# A slow machine is no failure: no test is timed.
settings.register_profile("antiphon", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("antiphon")

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the working tree."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public data sets: ANTIPHON_DATA, else ../shared/data beside the repository."""
    folder = REPOSITORY / _data.folder()
    if not folder.is_dir():
        pytest.skip(f"no public data sets at {folder}; set ANTIPHON_DATA to the folder that holds them")
    return folder


@pytest.fixture(scope="session")
def tiny_llm(tmp_path_factory) -> Path:
    """A folder with a random language model of the Qwen3 architecture, width 12, and a tokenizer of letters."""
    import torch
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3Model

    folder = tmp_path_factory.mktemp("tiny_llm")
    torch.manual_seed(3)
    config = Qwen3Config(
        vocab_size=64, hidden_size=12, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=6, max_position_embeddings=64, initializer_range=0.3,
    )  # fmt: skip
    Qwen3Model(config).save_pretrained(folder)
    letters = ["?", "\n", *"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ,.'&-"]
    tokenizer = Tokenizer(models.WordLevel({letter: n for n, letter in enumerate(letters)}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="?").save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def chat_llm(tmp_path_factory) -> Path:
    """A folder with a random decoder with a head, width 16, and a tokenizer of letters with a chat format."""
    import chat_session

    return chat_session.language_model(tmp_path_factory.mktemp("chat_llm"))


@pytest.fixture(scope="session")
def chat_sessions(tmp_path_factory) -> Path:
    """A folder of twelve sessions about four intents: ten to train on, two to test."""
    import chat_session

    return chat_session.sessions(tmp_path_factory.mktemp("chat") / "sessions")


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """A run's folder with tables, features and examples (histories of at most 10, windows: all, 2 shards)."""
    from antiphon.config import load
    from beam_jobs import ingest, materialize
    from feature_store import examples

    folder = tmp_path_factory.mktemp("runs")
    settings = [f"runs={folder}", f"data.path={repository / 'configs' / 'example_tables'}"]
    config = load(repository / "configs" / "tiny.yaml", settings)
    tables, features = config.folder / "tables", config.folder / "features"
    ingest.run(config.data, tables, config.beam)
    materialize.run(tables, None, features, config.features, config.beam)
    examples.write(tables, features, config.folder / "examples", config.examples, config.features)
    return config.folder
