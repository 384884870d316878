"""What a text's vector depends on besides the text, as one string."""

from __future__ import annotations

import json
from pathlib import Path

from llm_offline.config import EncoderConfig, GenerateConfig, LlmConfig
from llm_offline.model_files import content_hash, resolve


def layer_count(folder: Path, config: EncoderConfig | GenerateConfig | LlmConfig) -> int:
    """The layers that are kept of the model in ``folder``.

    Raises:
        ValueError: ``config.layers`` is more than it has.
    """
    layers = json.loads((folder / "config.json").read_text(encoding="utf-8"))["num_hidden_layers"]
    if config.layers > layers:
        rule = f"must be at most {layers}, the layers {config.model!r} has"
        raise ValueError(f"{config.section}.layers {rule}, received {config.layers}")
    return config.layers or layers


def model_id(config: EncoderConfig | GenerateConfig | LlmConfig) -> str:
    """Names the weights, their content, the layers kept and the dtype; without loading the model.

    Raises:
        FileNotFoundError: the model's files are not there.
        ValueError: as `layer_count`.
    """
    folder, name = resolve(config.model, config.section)
    return f"{name}@{content_hash(folder)}/layers={layer_count(folder, config)}/{config.dtype}"


def embedding_id(config: EncoderConfig, model: str = "") -> str:
    """`model_id` and how its states become a vector. The size of batches is no part of it.

    ``model`` is the `model_id` where it is known already: finding it reads all the weights.
    """
    length = "normalized" if config.normalize else "raw"
    kept = "" if config.keep == "start" else f"/keep={config.keep}"
    cut = f"/dimensions={config.dimensions}" if config.dimensions else ""
    return f"{model or model_id(config)}/{config.pooling}/max_tokens={config.max_tokens}{kept}{cut}/{length}"
