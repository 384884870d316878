"""What a user sets about the service chatbot's data: its intents, its sessions, and the simulator of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from feature_store.checks import above, at_least, one_of, require

INTENT_READERS = ("service", "bitext", "banking77", "clinc150", "abcd", "file")


@dataclass(frozen=True)
class IntentsConfig:
    """Where the knowledge base comes from. ``columns`` maps our names to the file's; of ``reader: file`` only."""

    reader: str = "service"  # service (our own, in the repository) | bitext | banking77 | clinc150 | abcd | file
    path: str = ""  # the data set's folder; of reader: file, the file (.jsonl, .parquet, .csv, .tsv)
    columns: dict[str, str] = field(default_factory=dict)
    examples: int = 5  # questions kept of each intent, the first of the source
    max_bad_share: float = 0.01  # more dead letters than this share of the rows fails the job

    def __post_init__(self) -> None:
        one_of("reader", self.reader, INTENT_READERS)
        at_least("examples", self.examples, 0)
        require(0 <= self.max_bad_share <= 1, "max_bad_share", "must be from 0 to 1", self.max_bad_share)
        rule = "must be given" if self.reader != "service" else "must be empty"
        require(bool(self.path) == (self.reader != "service"), "path", f"{rule} with reader {self.reader!r}", self.path)
        require(not self.columns or self.reader == "file", "columns", "must be empty but with reader 'file'",
                self.columns)  # fmt: skip


@dataclass(frozen=True)
class SimulateConfig:
    """The size and the noise of the simulated chatbot (`feature_store/datasets/chatbot/`).

    Its rules are written beside: who the users are (`users.py`), how orders live (`orders.py`), how people come to the
    chatbot (`visits.py`), what they then want (`situations.jsonl`, `wants.py`), what is to be seen of that
    (`signs.py`), what is shown and clicked (`slates.py`), how regions and weeks differ (`regions.py`). All were written
    before any model was run on them. Defaults of the noise stand here.
    """

    users: int = 4000
    seed: int = 1
    weeks: int = 5  # the last one is for testing: its sessions carry their true intents
    warm_up_weeks: int = 4  # simulated before, so that users have a past; not written
    visits: float = 1.6  # sessions a user has in four weeks, on average
    slate: int = 8  # intents shown
    late_share: float = 0.05  # of the intents, that enter the base only during the last three weeks
    whim: float = 0.06  # chance that what is wanted does not depend on the situation
    background: float = 0.06  # an intent's rate without any rule that speaks for it, beside the weights of the rules
    follow_up: float = 0.5  # chance, right after a dialogue that solved nothing, that the next one goes on from it
    second: float = 0.25  # chance of a second true intent
    told: float = 0.3  # chance that something was typed into the help centre's search before
    off_topic: float = 0.25  # chance that what was typed, or a help page that was read, is of another intent
    seen_help: float = 0.18  # share of the recent pages that are help pages
    page_noise: float = 0.4  # share of the other recent pages that any user might have visited
    policy_sharpness: float = 0.9  # of the policy that chose what was shown: 0 shows at random
    examination: float = 0.5  # position bias: position k is looked at with probability k^-examination
    relevant_click: float = 0.92  # chance of a click on a true intent that is looked at
    noise_click: float = 0.02  # on another one

    def __post_init__(self) -> None:
        for name in ("users", "slate"):
            at_least(name, getattr(self, name), 1)
        at_least("weeks", self.weeks, 2)
        at_least("warm_up_weeks", self.warm_up_weeks, 0)
        above("visits", self.visits, 0)
        for name in ("policy_sharpness", "examination"):
            at_least(name, getattr(self, name), 0)
        above("background", self.background, 0)
        shares = ("late_share", "whim", "follow_up", "second", "told", "off_topic", "seen_help", "page_noise",
                  "relevant_click", "noise_click")  # fmt: skip
        for name in shares:
            value = getattr(self, name)
            require(0 <= value < 1, name, "must be at least 0 and below 1", value)


@dataclass(frozen=True)
class WordsConfig:
    """What of a session is told in words."""

    features: tuple[str, ...] = ()  # by name; none given are all that the schema says
    most: int = 4  # of a list, the newest

    def __post_init__(self) -> None:
        at_least("most", self.most, 1)


@dataclass(frozen=True)
class ChatConfig:
    """A service chatbot's intents and sessions, and how requests to learn from are made of them."""

    path: str = ""  # folder of the log, sessions.parquet and schema.json (`session_schema`); "": the run has no chatbot
    intents: IntentsConfig = field(default_factory=IntentsConfig)
    simulate: SimulateConfig = field(default_factory=SimulateConfig)
    max_bad_share: float = 0.01  # more dead letters than this share of the sessions fails the job
    max_future_seconds: float = 86400.0  # a session later than now + this is a dead letter
    test_days: float = 7.0  # at the end; labelled with the true intents
    valid_days: float = 3.0  # before those; labelled with clicks, as training is
    words: WordsConfig = field(default_factory=WordsConfig)
    candidates: str = "all"  # of a training request: all intents of the base | shown, those of the slate
    text_buckets: int = 4096  # of each feature that is text: the ranker knows a text by its hash
    shards: int = 8
    reward: str = "qe_rec"  # which of the rankers rewards the reasoner, see antiphon.chat_ranker

    def __post_init__(self) -> None:
        one_of("candidates", self.candidates, ("all", "shown"))
        require(0 <= self.max_bad_share <= 1, "max_bad_share", "must be from 0 to 1", self.max_bad_share)
        at_least("max_future_seconds", self.max_future_seconds, 0)
        for name in ("shards", "text_buckets"):
            at_least(name, getattr(self, name), 1)
        for name in ("test_days", "valid_days"):
            above(name, getattr(self, name), 0)
