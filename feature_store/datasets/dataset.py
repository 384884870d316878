"""What a reader hands over: the data set's schema and the sources its rows come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from feature_store.row_checks import RawBatch
from feature_store.schema import Schema


@dataclass(frozen=True)
class Source:
    """Part of one table, read on its own. Pickles, so that a Beam worker can read it.

    ``number`` orders the sources of a table: a log's own order goes on from one to the next.
    ``rows`` reads it: an iterator of RawBatch.
    """

    table: str
    path: str
    number: int
    rows: Callable[[Source], Iterator[RawBatch]]

    def read(self) -> Iterator[RawBatch]:
        return self.rows(self)


@dataclass(frozen=True)
class Dataset:
    """What a reader found. Users or items may have no source: their ids are then those of the events.

    ``test_start`` is when the data set's own test begins, microseconds since 1970; None where it has none.
    """

    schema: Schema
    sources: tuple[Source, ...]
    test_start: int | None = None

    def of(self, table: str) -> tuple[Source, ...]:
        return tuple(source for source in self.sources if source.table == table)
