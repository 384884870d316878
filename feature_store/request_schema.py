"""What a labelled request holds: features of the user, of the situation and of the candidates, declared once.

The TFRecord rows, the trainer's parsing of them and the serving signature all derive from these declarations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from feature_store.checks import at_least, one_of, require
from feature_store.schema import Field

USER_ID, REQUEST_ID, LABEL_TIME = "user_id", "request_id", "label_time"
CANDIDATES, LABELS = "candidates", "labels"
ITEM = "item"
"""The vocabulary of the candidates."""

KEYS = (
    Field(USER_ID, required=True),
    Field(REQUEST_ID, required=True),
    Field(LABEL_TIME, "int64", required=True),
    Field(CANDIDATES, shape=(None,), vocabulary=ITEM, required=True),
    Field(LABELS, "float32", shape=(None,), required=True),
)
"""What every request has: whose, its name, when (microseconds since 1970, UTC), the candidates shown, and a label of
each."""


@dataclass(frozen=True)
class RequestFeature:
    """One feature of a request.

    A string feature is categorical, with a vocabulary or hash buckets; so is an int64 one that has either. Other
    numbers are taken as they are. A missing string is "", a missing float NaN, a missing int64 -1.

    Raises:
        ValueError: a field breaks its rule.
    """

    name: str
    side: str = "user"  # user | context: in each request | candidate: a column of the items' file, the same in all
    kind: str = "single"  # single | bag: values in no order | sequence: oldest first | vector: ``length`` numbers
    dtype: str = "string"  # string | int64 | float32
    vocabulary: str = ""  # its name; features may share one. ``item`` is the candidates' own
    hash_buckets: int = 0
    length: int = 0  # of a bag or a sequence at most, the newest are kept; of a vector
    log: bool = False  # of numbers that are not below 0: models read log(1 + x)

    def __post_init__(self) -> None:
        require(bool(self.name), "a feature's name", "must not be empty", self.name)
        where = f"feature {self.name!r}: "
        require(self.name not in {key.name for key in KEYS}, where + "name", "must not be a request's own", self.name)
        one_of(where + "side", self.side, ("user", "context", "candidate"))
        one_of(where + "kind", self.kind, ("single", "bag", "sequence", "vector"))
        one_of(where + "dtype", self.dtype, ("string", "int64", "float32"))
        at_least(where + "hash_buckets", self.hash_buckets, 0)
        require(not (self.vocabulary and self.hash_buckets), where + "vocabulary", "must be empty with hash_buckets",
                self.vocabulary)  # fmt: skip
        if self.dtype == "string":
            told = self.vocabulary or self.hash_buckets
            require(bool(told), where + "vocabulary", "must be named, or hash_buckets be above 0, for strings", "")
        if self.dtype == "float32":
            told = self.vocabulary or self.hash_buckets or ""
            require(not told, where + "vocabulary", "must be empty, and hash_buckets 0, with dtype 'float32'", told)
        if self.kind == "single":
            require(self.length == 0, where + "length", "must be 0 with kind 'single'", self.length)
        else:
            at_least(where + "length", self.length, 1)
        if self.kind == "vector":
            require(self.dtype == "float32", where + "dtype", "must be 'float32' with kind 'vector'", self.dtype)
        if self.kind == "bag":
            require(self.categorical, where + "kind", "must not be 'bag' for numbers", self.kind)
        require(not (self.log and self.categorical), where + "log", "must be false for ids", self.log)

    @property
    def categorical(self) -> bool:
        """Whether its values are ids."""
        return bool(self.vocabulary or self.hash_buckets)

    @property
    def field(self) -> Field:
        """Of an example, or of the items' file."""
        shape: tuple[int | None, ...] = {"single": (), "vector": (self.length,)}.get(self.kind, (None,))
        missing = float("nan")
        default: Any = None
        if self.dtype == "float32":
            default = {"single": missing, "vector": [missing] * self.length}.get(self.kind)
        elif self.dtype == "int64" and self.kind == "single":
            default = -1
        bound = self.length if self.kind in ("bag", "sequence") else 0
        return Field(self.name, self.dtype, shape, default, False, self.vocabulary, self.hash_buckets, bound)


def checked(features: Sequence[RequestFeature]) -> tuple[RequestFeature, ...]:
    """The features as they are.

    Raises:
        ValueError: two of one name.
    """
    names = [feature.name for feature in features]
    require(len(set(names)) == len(names), "features", "must have a name each", names)
    return tuple(features)


def in_requests(features: Iterable[RequestFeature]) -> list[RequestFeature]:
    """Those that lie in each request; the others lie beside the items."""
    return [feature for feature in features if feature.side != "candidate"]


def to_json(features: Iterable[RequestFeature]) -> list[dict[str, Any]]:
    return [asdict(feature) for feature in features]


def from_json(data: Iterable[Mapping[str, Any]]) -> tuple[RequestFeature, ...]:
    """What ``to_json`` made."""
    return checked([RequestFeature(**entry) for entry in data])
