"""What is known of a reproduction's rows: one JSON file, from which alone its page is made."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from antiphon import records
from benchmarks.reproduce._rows import ALL, Row
from trainer.statistics import Comparison, Interval


@dataclass(frozen=True)
class Result:
    """What one row came to.

    Attributes:
        settings: what it was made with, where that is not the default (`_settings.of`).
        loss: in words.
        protocol: as the evaluation tells it.
        users: of the test split.
        test: the metrics of `_rows.METRICS` with their 95% intervals over users.
        valid: NDCG@10 on the validation split, by which the best epoch was chosen.
        epochs, best_epoch: pre-training included. pretrain_epochs: of them.
        wall_seconds, processor_seconds: of training, the start of its processes and validation included.
        machine: processor, cores.
        date: when it was evaluated.
        told: what else is known of it (`Reproduction.observe`).
    """

    row: Row
    settings: Mapping[str, Any]
    loss: str
    protocol: str
    users: int
    test: Mapping[str, Interval]
    valid: float
    epochs: int
    best_epoch: int
    pretrain_epochs: int
    wall_seconds: float
    processor_seconds: float
    machine: Mapping[str, Any]
    date: str
    told: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Paired:
    """`row` − `baseline` on the same users, by metric; of R@5 also by user group. With seed `ALL` each side is a user's
    mean over the seeds."""

    row: Row
    baseline: Row
    differences: Mapping[str, Comparison]
    groups: Mapping[str, Comparison] = field(default_factory=dict)


@dataclass
class Results:
    """The rows that are done and the comparisons between them, in a file that is always whole."""

    path: Path
    rows: dict[Row, Result] = field(default_factory=dict)
    paired: dict[tuple[Row, Row], Paired] = field(default_factory=dict)  # by row and baseline

    @classmethod
    def read(cls, path: Path) -> Results:
        """What the file holds; nothing where there is none.

        Raises:
            ValueError: it is not such a file.
        """
        if not path.exists():
            return cls(path)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            rows = [_result(values) for values in content["rows"]]
            paired = [_paired(values) for values in content["paired"]]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: is no file of results: {type(error).__name__}: {error}") from None
        return cls(path, {result.row: result for result in rows}, {(one.row, one.baseline): one for one in paired})

    def put(self, result: Result) -> None:
        """Adds a row, or puts it in the place of an older one, with whose comparisons it does away unless it came to
        the very same: so it is where a row is done again on another machine, for others to start from."""
        self._refresh()
        before = self.rows.get(result.row)
        self.rows[result.row] = result
        if before is None or _came_to(before) != _came_to(result):
            gone = {result.row, replace(result.row, seed=ALL)}
            self.paired = {rows: one for rows, one in self.paired.items() if not gone & set(rows)}
        self._write()

    def compare(self, paired: Paired) -> None:
        """Adds a comparison."""
        self._refresh()
        self.paired[paired.row, paired.baseline] = paired
        self._write()

    def compared(self, row: Row) -> list[Paired]:
        """The row's comparisons with its baselines."""
        return [one for one in self.paired.values() if one.row == row]

    def comparisons(self, rows: Iterable[Row]) -> list[Paired]:
        """Those of `rows`, and then those of their seeds together."""
        each = list(rows)
        return [one for row in dict.fromkeys((*each, *(replace(row, seed=ALL) for row in each)))
                for one in self.compared(row)]  # fmt: skip

    def _refresh(self) -> None:
        """Another process may have added rows."""
        now = Results.read(self.path)
        self.rows, self.paired = now.rows, now.paired

    def _write(self) -> None:
        rows = [_flat(self.rows[row]) for row in sorted(self.rows)]
        content = {"rows": rows, "paired": [_told(self.paired[rows]) for rows in sorted(self.paired)]}
        records.write_text(self.path, records.to_json(rounded(content)))


def _came_to(result: Result) -> Any:
    told = asdict(result)
    return rounded({name: told[name] for name in ("settings", "users", "test", "valid", "epochs", "best_epoch")})


def _flat(result: Result) -> dict[str, Any]:
    values = _told(result)
    return {**values.pop("row"), **values}


def _told(one: Result | Paired) -> dict[str, Any]:
    """Without what is not known of most."""
    return {name: value for name, value in asdict(one).items() if value or name not in ("told", "groups")}


def _result(values: Mapping[str, Any]) -> Result:
    row, rest = {}, {}
    for name, value in values.items():
        (row if name in Row.__dataclass_fields__ else rest)[name] = value
    test = {metric: Interval(**bounds) for metric, bounds in rest.pop("test").items()}
    return Result(row=Row(**row), test=test, **rest)


def _paired(values: Mapping[str, Any]) -> Paired:
    rows = (Row(**values[name]) for name in ("row", "baseline"))
    return Paired(*rows, *(_comparisons(values.get(name, {})) for name in ("differences", "groups")))


def _comparisons(values: Mapping[str, Any]) -> dict[str, Comparison]:
    return {name: Comparison(**found) for name, found in values.items()}


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return round(value, 6) if isinstance(value, float) else value
