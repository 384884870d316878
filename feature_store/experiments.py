"""Which users see what: assignment to an experiment's arms, and the exposures that the served log tells of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from feature_store.config import ExperimentConfig
from feature_store.database import connect
from feature_store.hashing import uniform
from feature_store.served_log import ServedRow

_EXPOSED = pa.schema(
    [
        ("user_id", pa.string()),
        ("arm", pa.string()),
        ("time", pa.timestamp("us", tz="UTC")),
        ("items", pa.list_(pa.string())),
    ]
)


def arm_of(name: str, experiment: ExperimentConfig, user_id: str) -> str:
    """The arm a user is in, always the same; "" where the user is not in the experiment."""
    at = uniform(experiment.salt or name, user_id)
    end = 0.0
    for arm, config in experiment.arms.items():
        end += config.share
        if at < end:
            return arm
    return ""


def exposures(name: str, rows: Iterable[ServedRow]) -> pa.Table:
    """One row for each user of each request that was part of the experiment: user_id, arm, time, items.

    `items` are those of the answer ("" left out); empty for a signature that answers none.
    """
    found: list[tuple[str, str, int, list[str]]] = []
    for row in rows:
        said = row.context
        if len(said.exposures) != len(said.user_ids) or not any(name in exposed for exposed in said.exposures):
            continue
        items = row.outputs.get("items", np.empty(0))
        for number, (user, exposed) in enumerate(zip(said.user_ids, said.exposures, strict=True)):
            if name in exposed:
                answered = items[number].tolist() if len(items) == len(said.user_ids) else []
                found.append((user, exposed[name], row.time, [item for item in answered if item]))
    columns = list(zip(*found, strict=True)) or [()] * len(_EXPOSED)
    return pa.table([pa.array(c, kind) for c, kind in zip(columns, _EXPOSED.types, strict=True)], _EXPOSED)


@dataclass(frozen=True)
class Outcomes:
    """What the users of one arm did, each array (U,), a user an entry.

    Attributes:
        requests: answers the user got.
        hits: of these, how many named an item of a later event of the user.
        events, value: the user's events from the first exposure on, and the sum of their values.
    """

    requests: np.ndarray
    hits: np.ndarray
    events: np.ndarray
    value: np.ndarray


def outcomes(exposed: pa.Table, events: Path, days: float) -> tuple[dict[str, Outcomes], int]:
    """The users' outcomes by arm, and how many users were seen in more than one arm; those are in none.

    Args:
        exposed: as `exposures` gives it.
        events: the tables' `events.parquet`.
        days: events count from a user's first exposure on and up to so long after it.
    """
    connection = connect()
    connection.register("exposed", exposed)
    query = """
        WITH users AS (
            SELECT user_id, min(arm) AS arm, min(time) AS first, count(DISTINCT arm) AS arms, count(*) AS requests
            FROM exposed GROUP BY user_id),
        after AS (
            SELECT e.user_id, e.item_id, e.event_time, e.value FROM read_parquet($events) e JOIN users USING (user_id)
            WHERE e.event_time >= first AND e.event_time < first + to_microseconds($window)),
        done AS (SELECT user_id, count(*) AS events, sum(value) AS value FROM after GROUP BY user_id),
        asked AS (SELECT *, row_number() OVER () AS number FROM exposed),
        hit AS (
            SELECT asked.user_id, count(DISTINCT number) AS hits FROM asked JOIN after ON asked.user_id = after.user_id
                AND list_contains(asked.items, after.item_id) AND after.event_time >= asked.time
            GROUP BY asked.user_id)
        SELECT arm, arms, requests, coalesce(hits, 0) AS hits, coalesce(events, 0) AS events,
            coalesce(value, 0) AS value
        FROM users LEFT JOIN done USING (user_id) LEFT JOIN hit USING (user_id) ORDER BY user_id
    """
    window = int(days * 86_400_000_000)
    found = connection.sql(query, params={"events": str(events), "window": window}).to_arrow_table()
    columns = {name: found[name].to_numpy() for name in ("requests", "hits", "events", "value")}
    arm, once = np.array(found["arm"].to_pylist()), found["arms"].to_numpy() == 1
    arms = sorted(set(arm[once].tolist()))
    of_arm = {
        name: Outcomes(**{key: values[once & (arm == name)].astype(float) for key, values in columns.items()})
        for name in arms
    }
    return of_arm, int((~once).sum())
