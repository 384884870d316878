"""The newest session of every user: what is known of a user who opens the chatbot now."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from feature_store import sessions
from feature_store.database import connect
from feature_store.session_schema import SESSION_ID, SESSION_TIME, USER_ID


class LatestSessions:
    """Of a folder of `sessions`, held in memory: one row a user.

    Raises:
        DataError: the folder is not whole.
    """

    def __init__(self, folder: Path) -> None:
        self.schema = sessions.schema_of(folder)
        columns = ", ".join(f'"{each.name}"' for each in self.schema.features)
        query = f"""
            SELECT {USER_ID}, {SESSION_TIME}, {columns} FROM read_parquet($path)
            QUALIFY row_number() OVER (PARTITION BY {USER_ID} ORDER BY {SESSION_TIME} DESC, {SESSION_ID} DESC) = 1
            ORDER BY {USER_ID}
        """
        with connect() as database:
            path = Path(folder) / "sessions.parquet"
            self._rows = database.sql(query, params={"path": str(path)}).to_arrow_table()
        self.users: list[str] = self._rows[USER_ID].to_pylist()
        self._places = {user: place for place, user in enumerate(self.users)}

    def of(self, user: str) -> tuple[dict[str, Any], datetime]:
        """The features' values of a user's newest session, null where there is none, and when that was.

        Raises:
            KeyError: the user has no session.
        """
        row = self._rows.slice(self._places[user], 1).to_pylist()[0]
        when = row.pop(SESSION_TIME)
        del row[USER_ID]
        return row, when
