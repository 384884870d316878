"""Features as they were served, in the place of those of the as-of join, where the served log has them.

The log has a label row where the user was served after the event before the label, and before the label: what that
request was given is what the prediction of the label was made of. Of several such requests the newest counts.

Nothing of the future comes in. A request is earlier than its label; and since clocks differ, and a client may send what
it likes, its history must be one of the past: events that the user had before the label, in their order. Otherwise the
row's features are those of the as-of join, and the row is counted as refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_store.database import connect
from feature_store.schema import ROW_ID, Schema
from feature_store.served_examples import SERVED, arrow_schema, served_examples, user_features
from feature_store.served_log import read

_NUMBER = "number"
_HISTORY, _COUNT = f"{SERVED}history", f"{SERVED}event_count"


@dataclass(frozen=True)
class ServedFeatures:
    """A served log's rows by user and time.

    Attributes:
        path: Parquet. rows: how many; one a user of a request.
    """

    path: Path
    rows: int
    schema: Schema

    @classmethod
    def collect(cls, log: Path, schema: Schema, path: Path) -> ServedFeatures:
        """Reads the log in its folder ``log`` once, and leaves its rows in a file at ``path``.

        Raises:
            DataError: there is no such folder, or a finished segment is damaged.
        """
        rows = 0
        columns = arrow_schema(schema).append(pa.field(_NUMBER, pa.int64()))
        with pq.ParquetWriter(path, columns, compression="zstd") as writer:
            for batch in served_examples(read(log), schema):
                numbers = pa.array(range(rows, rows + batch.num_rows), pa.int64())
                writer.write_batch(pa.record_batch([*batch.columns, numbers], schema=columns))
                rows += batch.num_rows
        return cls(path, rows, schema)

    def put(self, rows: pa.Table, events: Path) -> tuple[pa.Table, Counter[str]]:
        """Puts features as served into label rows that have those of the as-of join, and adds ``row_id``.

        A feature that a request did not have stays that of the join, made of the same events.

        Args:
            rows: with ``user_id``, ``label_time`` and the features that are known by user. events: the table's file.

        Returns:
            The rows in their order. Counts: "served"; of those refused, "empty" (no history was known, as where the
            online store was down) and "not past".
        """
        asked, items = self._asked(rows, events)
        counts: Counter[str] = Counter()
        chosen: list[int | None] = [None] * len(rows)  # by row, its place in `asked`
        histories = asked[_HISTORY].to_pylist()
        known = zip(asked["newest"].to_pylist(), asked["events"].to_pylist(), asked[_COUNT].to_pylist(), strict=True)
        for place, (row, history, (newest, events_before, count)) in enumerate(
            zip(asked["row"].to_pylist(), histories, known, strict=True)
        ):
            if history is not None and not history:
                counts["empty"] += 1
            elif (count or 0) > events_before or not _is_past(history or (), items, newest, events_before):
                counts["not past"] += 1
            else:
                counts["served"] += 1
                chosen[row] = place
                if history is not None:
                    histories[place] = history[-self.schema.history_length :]
        taken = pa.array(chosen, pa.int64())
        cut = pa.array(histories, asked[_HISTORY].type)
        for field in user_features(self.schema):
            served = cut if field.name == "history" else asked[f"{SERVED}{field.name}"].combine_chunks()
            at = rows.schema.get_field_index(field.name)
            values = pc.coalesce(served.take(taken), rows[field.name].combine_chunks())
            rows = rows.set_column(at, rows.schema.field(at), values)
        return rows.append_column(ROW_ID, pc.fill_null(asked[ROW_ID].combine_chunks().take(taken), "")), counts

    def _asked(self, rows: pa.Table, events: Path) -> tuple[pa.Table, list[str]]:
        """For each label row that the log has its request, with where its user's events before it are, and the items of
        all of these users' events, by user and time.

        Of ``rows`` by number: ``row``; the newest of the log's; ``newest``, the place among the items of the event
        before the label, and ``events``, how many there are up to it.
        """
        connection = connect()
        numbered = rows.select(["user_id", "label_time"]).append_column("row", pa.array(range(len(rows)), pa.int64()))
        connection.register("labels", numbered)
        connection.read_parquet(str(self.path)).create_view("log")
        connection.read_parquet(str(events)).create_view("events")
        given = ", ".join(f'"{SERVED}{field.name}"' for field in user_features(self.schema))
        connection.execute(f"""
            CREATE TEMP TABLE requests AS
            WITH last AS (
                SELECT * FROM log WHERE ({_present(self.schema)}) AND user_id IN (SELECT user_id FROM labels)
                QUALIFY row_number() OVER (PARTITION BY user_id, label_time ORDER BY "{_NUMBER}" DESC) = 1)
            SELECT labels.row, labels.user_id, labels.label_time, last.label_time AS served, row_id, {given}
            FROM labels ASOF JOIN last ON labels.user_id = last.user_id AND labels.label_time > last.label_time
        """)
        connection.execute("""
            CREATE TEMP TABLE past AS
            SELECT user_id, item_id, event_time,
                row_number() OVER (ORDER BY user_id, event_time) - 1 AS newest,
                row_number() OVER (PARTITION BY user_id ORDER BY event_time) AS events
            FROM events WHERE user_id IN (SELECT user_id FROM requests)
        """)
        asked = connection.sql(f"""
            SELECT row, newest, events, row_id, {given}
            FROM requests ASOF JOIN past
                ON requests.user_id = past.user_id AND requests.label_time > past.event_time
            WHERE served > event_time ORDER BY row
        """).to_arrow_table()
        items = connection.sql("SELECT item_id FROM past ORDER BY newest").to_arrow_table()["item_id"].to_pylist()
        return asked, items


def _present(schema: Schema) -> str:
    """Whether a row of the log has any feature, in SQL."""
    return " OR ".join(f'"{SERVED}{field.name}" IS NOT NULL' for field in user_features(schema))


def _is_past(history: Sequence[str], items: Sequence[str], newest: int, count: int) -> bool:
    """Whether a history is a subsequence of the ``count`` items that end at place ``newest``.

    From the newest on: what was served without delay takes as many steps as it has items.
    """
    place, first = newest, newest - count
    for item in reversed(history):
        while place > first and items[place] != item:
            place -= 1
        if place == first:
            return False
        place -= 1
    return True
