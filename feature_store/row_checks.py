"""Raw rows to typed ones by a list of fields, and the bad ones to dead letters."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_store.casts import cast, true
from feature_store.errors import DataError
from feature_store.schema import Field


@dataclass(frozen=True)
class DeadLetter:
    """A row that did not make it into its table. ``record`` is the raw row as JSON."""

    table: str
    source: str
    row: int
    reason: str
    record: str


class RawBatch(NamedTuple):
    """Rows as a reader found them. ``first_row`` counts the rows of ``source`` from 0.

    ``source_number`` orders the sources of a table, so that a log's order holds across files.
    ``dead_letters`` are lines the reader could not make a row of.
    """

    table: str
    batch: pa.RecordBatch
    source: str
    first_row: int
    source_number: int = 0
    dead_letters: tuple[DeadLetter, ...] = ()


class Checked:
    """The columns of a raw batch in their types, and each row's first fault.

    A column that is missing as a whole holds nulls. Lists are never null.

    Attributes:
        columns: by name, one a field. reasons: (n,) "" where a row is good.
    Raises:
        DataError: a required column is missing.
    """

    def __init__(self, raw: RawBatch, fields: Sequence[Field], time_unit: str = "s") -> None:
        self._raw = raw
        self.reasons = np.full(raw.batch.num_rows, "", dtype=object)
        self.columns: dict[str, pa.Array] = {}
        names = raw.batch.schema.names
        for field in fields:
            if field.name not in names:
                if field.required:
                    raise DataError("a required column is missing", file=raw.source, field=field.name, value=names)
                values = pa.nulls(raw.batch.num_rows, field.arrow_type)
            else:
                values, bad = cast(raw.batch.column(field.name), field, time_unit)
                rule = "unparsable time in" if field.dtype == "timestamp" else "wrong type in"
                self.mark(bad, f"{rule} {field.name}")
            if field.required:
                missing = pc.is_null(values)
                if field.dtype == "string" and not field.is_list:
                    missing = pc.or_kleene(missing, pc.equal(values, ""))
                self.mark(true(missing), f"missing {field.name}")
            elif field.is_list:
                values = pc.if_else(pc.is_null(values), pa.scalar([], field.arrow_type), values)
            self.columns[field.name] = values

    def mark(self, where: np.ndarray, reason: str) -> None:
        """Gives the rows in ``where`` (n,) bool that have no fault yet this one."""
        self.reasons[where & (self.reasons == "")] = reason

    def good(self) -> pa.Table:
        """The rows without a fault."""
        return pa.table(self.columns).filter(pa.array(self.reasons == "", pa.bool_()))

    def dead_letters(self) -> list[DeadLetter]:
        """Those the reader left, and one for each row with a fault."""
        rows = np.flatnonzero(self.reasons != "")
        raw = self._raw
        return [
            *raw.dead_letters,
            *(
                DeadLetter(raw.table, raw.source, raw.first_row + int(row), self.reasons[row],
                           json.dumps(record, ensure_ascii=False, default=str))
                for row, record in zip(rows, raw.batch.take(pa.array(rows, pa.int64())).to_pylist(), strict=True)
            ),
        ]  # fmt: skip
